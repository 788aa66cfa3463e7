// The page of the service's health: its readiness, and live calls, errors and times.

import { Problem } from "../api.js";
import { line, smallLine } from "../charts.js";
import { fill, foreign, h } from "../dom.js";
import { helps, operations, parse, quantile, sums } from "../metrics.js";
import { mayAuditAll, request, requestText } from "../session.js";
import { sentences } from "../notices.js";
import { address, badge, link, remark, section, table } from "../widgets.js";

const INTERVAL = 5000; // milliseconds between two readings
const KEPT = 120; // readings in a picture: ten minutes

/** The content of the page, updated until `signal`. */
export async function health({ signal }) {
  const ready = h("p", { role: "status" }, "Asking …");
  const figures = h("div", {});
  const watch = new Watch(ready, figures, signal);
  watch.run();
  return [h("h1", {}, "Health"), ready, figures];
}

/** Reads the metrics while the page is visible, and draws them. */
class Watch {
  constructor(ready, figures, signal) {
    Object.assign(this, { ready, figures, signal });
    this.reading = null;
    this.away = null; // the providers that do not answer, once it is ready
    this.points = []; // calls a second, errors a second, p99 in milliseconds: of all, and by operation
    this.readsMetrics = mayAuditAll();
    if (!this.readsMetrics) {
      fill(figures, remark("The figures of the service need a token with the scope audit for all profiles."));
    }
  }

  async run() {
    while (!this.signal.aborted) {
      if (document.visibilityState === "visible") await this.read();
      await this.pause();
    }
  }

  /** Wait until the next reading; it is immediate when the page becomes visible again. */
  pause() {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        document.removeEventListener("visibilitychange", end);
        this.signal.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, INTERVAL);
      document.addEventListener("visibilitychange", end);
      this.signal.addEventListener("abort", end);
    });
  }

  async read() {
    await this.attempt(this.ready, "not ready", async () => {
      const { away: names = [] } = await request("GET", "readyz", { signal: this.signal });
      const away = names.join(", ");
      if (this.away === away) return; // a screen reader would say it again
      this.away = away;
      fill(
        this.ready,
        badge("ready", "good"),
        " The store answers, and calls can be recorded.",
        this.away && [" ", badge("away", "bad"), " Keys of these providers cannot be used: ", foreign(this.away), "."]
      );
    });
    if (!this.readsMetrics) return;
    await this.attempt(this.figures, "not read", async () => {
      const text = await requestText("console/metrics", { signal: this.signal });
      this.take({ at: Date.now(), samples: parse(text), helps: helps(text) });
    });
  }

  /** Do a part of a reading; `word` precedes the reason if it fails. */
  async attempt(place, word, work) {
    try {
      await work();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Problem)) throw error;
      const isOff = place === this.figures && error.status === 404;
      if (isOff) {
        this.readsMetrics = false;
        fill(place, remark("Metrics are off. Start the service with --metrics-port to see its figures."));
      } else {
        fill(place, badge(word, "bad"), " ", sentences(error));
        if (place === this.ready) this.away = null;
      }
    }
  }

  /** Draw a reading beside the previous ones. */
  take(reading) {
    const before = this.reading;
    this.reading = reading;
    const gauges = [
      storeKey(reading),
      providers(reading),
      section("Store, cache and workers", table("Figures now", GAUGES, gaugesOf(reading), "None.")),
    ];
    if (before === null) {
      fill(this.figures, remark("Measuring …"), gauges);
      return;
    }
    const seconds = (reading.at - before.at) / 1000;
    const rows = operations(before.samples, reading.samples, seconds).sort((one, other) => other.total - one.total);
    const p99 = quantile(before.samples, reading.samples, 0.99);
    const sum = (name) => rows.reduce((sum, row) => sum + row[name], 0);
    this.points.push({
      calls: sum("calls"),
      errors: sum("errors"),
      p99: milliseconds(p99),
      operations: new Map(rows.map((row) => [row.operation, { ...row, p99: milliseconds(row.p99) }])),
    });
    this.points.splice(0, this.points.length - KEPT);
    fill(
      this.figures,
      h("div", { class: "charts" }, [this.picture("calls", sum("total")), this.picture("errors", sum("failed")), this.picture("p99")]),
      remark("The charts, calls a second and p99 begin when this page is opened. Calls in all are since the start of the service."),
      section("By operation", table("Operations", OPERATIONS, rows.map((row) => this.withPast(row)), "No call yet.")),
      gauges
    );
  }

  /** The row of an operation with small charts of its figures. */
  withPast(row) {
    const past = (name, what) =>
      smallLine(`${what} of ${row.operation}`, this.points.map(({ operations: of }) => of.get(row.operation)?.[name] ?? null));
    return { ...row, past: { calls: past("calls", "Calls"), errors: past("errors", "Failed calls"), p99: past("p99", "p99") } };
  }

  picture(name, total) {
    const values = this.points.map((point) => point[name]);
    const known = values.filter((value) => value !== null);
    const now = values.at(-1);
    const [title, unit] = { calls: ["Calls", "a second"], errors: ["Failed calls", "a second"], p99: ["p99", "ms"] }[name];
    const most = known.length ? `, most ${shown(Math.max(...known))}` : "";
    const all = total === undefined ? "" : `, ${shown(total)} in all`;
    return line(`${title}: ${now === null ? "no call" : `${shown(now)} ${unit}`}${most}${all}`, values);
  }
}

/** How the store key is kept, and the state of each of its seals. */
function storeKey({ samples }) {
  const labels = (name) => (samples.get(name) ?? []).map((sample) => sample.labels);
  const [key] = labels("minikms_store_key_info");
  if (!key) return null;
  const seals = labels("minikms_seal_info").sort((one, other) => one.place - other.place);
  const tries = remark("The command ", h("code", {}, "minikms store seals"), " tries each of them, also those that were not asked.");
  const kept = KEY_KEPT[key.kept](seals.length);
  return section("Store key", h("p", {}, kept), seals.length > 0 && [table("Seals", SEALS, seals), tries]);
}

/** The state of each provider, with a link to its keys. */
function providers({ samples }) {
  const [up, sessions, reconnects, waiting] = ["up", "sessions", "reconnects_total", "objects_waiting"].map((name) =>
    sums(samples, `minikms_provider_${name}`, "provider")
  );
  const rows = [...new Set([...up.keys(), ...waiting.keys()])].sort().map((name) => ({
    name,
    up: up.get(name),
    sessions: sessions.get(name) ?? 0,
    reconnects: reconnects.get(name) ?? 0,
    waiting: waiting.get(name) ?? 0,
  }));
  return rows.length > 0 && section("Providers", table("Providers", PROVIDERS, rows));
}

/** The other families that are not counted by operation. */
function gaugesOf({ samples, helps: texts }) {
  const names = [...texts.keys()].filter((name) => /^(minikms|process)_/.test(name) && !SHOWN_ELSEWHERE.test(name));
  return names.flatMap((name) =>
    (samples.get(name) ?? []).map(({ labels, value }) => ({
      name: [name.replace("minikms_", "").replaceAll("_", " "), ...Object.values(labels)].join(" "),
      help: texts.get(name),
      value: /time(stamp)?_seconds$/.test(name) ? moment(value) : shown(value),
    }))
  );
}

const SHOWN_ELSEWHERE = /_(operations|requests|operation_duration_seconds|request_duration_seconds)(_total)?$|_(store_key|seal)_info$|^minikms_provider_/;

const KEY_KEPT = {
  sealed: (number) => (number === 1 ? "Sealed. Its one seal is the only way to the store." : `Sealed. Any one of its ${number} seals opens it.`),
  file: () => "In a plain file. Whoever copies it and the store can open the store.",
  variable: () => "In the variable MINIKMS_STORE_KEY of the service.",
  none: () => "None: the store is in memory.",
};

const STATES = {
  opened: ["opened it", "good"],
  failed: ["did not open it", "bad"],
  "not-asked": ["was not asked"],
};

const SEALS = [
  ["Place", ({ place }) => place],
  ["Seal", ({ kind }) => foreign(kind)],
  ["At the last start", ({ state }) => badge(...STATES[state])],
];

const PROVIDERS = [
  ["Provider", ({ name }) => link(address("keys", undefined, { provider: name }), foreign(name))],
  ["State", ({ up }) => (up === undefined ? badge("not in this service", "warn") : up ? badge("answers", "good") : badge("away", "bad"))],
  ["Sessions", ({ sessions }) => shown(sessions)],
  ["Reconnected", ({ reconnects }) => shown(reconnects)],
  ["Key pairs to destroy", ({ waiting }) => (waiting > 0 ? badge(shown(waiting), "warn") : "0")],
];

const GAUGES = [
  ["Figure", ({ name }) => foreign(name)],
  ["Value", ({ value }) => value],
  ["Meaning", ({ help }) => help],
];

const OPERATIONS = [
  ["Operation", ({ operation }) => operation],
  ["Calls a second", ({ calls, past }) => [shown(calls), past.calls]],
  ["Failed a second", ({ errors, past }) => [errors > 0 ? badge(shown(errors), "bad") : "0", past.errors]],
  ["p99", ({ p99, past }) => [p99 === null ? "no call" : p99 === Infinity ? "over 10 s" : `${shown(p99 * 1000)} ms`, past.p99]],
  ["Calls in all", ({ total }) => shown(total)],
  ["Failed in all", ({ failed }) => (failed > 0 ? badge(shown(failed), "bad") : "0")],
];

/** Convert seconds to milliseconds for a chart, at most 10 s; null for no call. */
function milliseconds(seconds) {
  return seconds === null ? null : Math.min(seconds, 10) * 1000;
}

/** Format a time in seconds since the epoch; 0 and infinity mean none. */
function moment(seconds) {
  return seconds === 0 || seconds === Infinity ? "none" : `${new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** A number for people. */
function shown(number) {
  return number.toLocaleString("en", { maximumFractionDigits: number < 10 ? 1 : 0 });
}
