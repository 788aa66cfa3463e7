// Prometheus's text format, and figures for the time between two readings.

const SAMPLE = /^(\w+)(?:\{(.*)\})? (\S+)$/s;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** Parse samples by name, each with its labels and value. */
export function parse(text) {
  const samples = new Map();
  for (const row of text.split("\n")) {
    const found = !row.startsWith("#") && SAMPLE.exec(row);
    if (!found) continue;
    const [, name, labels = "", value] = found;
    if (!samples.has(name)) samples.set(name, []);
    samples.get(name).push({
      labels: Object.fromEntries([...labels.matchAll(LABEL)].map(([, key, text]) => [key, plain(text)])),
      value: value === "+Inf" ? Infinity : Number(value),
    });
  }
  return samples;
}

/** Unescape the value of a label. */
function plain(text) {
  return text.replace(/\\(.)/g, (_, letter) => (letter === "n" ? "\n" : letter));
}

/** Parse the help text of each family, by name. */
export function helps(text) {
  const found = text.matchAll(/^# HELP (\w+) (.*)$/gm);
  return new Map([...found].map(([, name, help]) => [name, help]));
}

/** Sum a family by one of its labels. */
export function sums(samples, name, label, counts = () => true) {
  const found = new Map();
  for (const { labels, value } of samples.get(name) ?? []) {
    if (counts(labels)) found.set(labels[label], (found.get(labels[label]) ?? 0) + value);
  }
  return found;
}

/**
 * For each operation: its calls and failed calls a second since the previous reading, the time in seconds within
 * which 99 of 100 calls ended (null if there were none), and its calls and failed calls since the start.
 */
export function operations(before, now, seconds) {
  const name = "minikms_operations_total";
  const failed = (labels) => labels.outcome !== "success";
  const [calls, callsBefore] = [now, before].map((one) => sums(one, name, "operation"));
  const [errors, errorsBefore] = [now, before].map((one) => sums(one, name, "operation", failed));
  const rate = (after, earlier, key) =>
    Math.max(0, (after.get(key) ?? 0) - (earlier.get(key) ?? 0)) / seconds;
  return [...calls.keys()].map((operation) => ({
    operation,
    calls: rate(calls, callsBefore, operation),
    errors: rate(errors, errorsBefore, operation),
    p99: quantile(before, now, 0.99, (labels) => labels.operation === operation),
    total: calls.get(operation),
    failed: errors.get(operation) ?? 0,
  }));
}

/** A quantile of the times of operations between two readings, at the end of its bucket; null without a call. */
export function quantile(before, now, share, counts = () => true) {
  const name = "minikms_operation_duration_seconds_bucket";
  const [ends, endsBefore] = [now, before].map((one) => sums(one, name, "le", counts));
  const buckets = [...ends]
    .map(([end, number]) => [end === "+Inf" ? Infinity : Number(end), number - (endsBefore.get(end) ?? 0)])
    .sort(([one], [other]) => one - other);
  const all = buckets.at(-1)?.[1] ?? 0;
  if (all <= 0) return null;
  return buckets.find(([, number]) => number >= share * all)[0];
}
