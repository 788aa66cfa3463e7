// Ask the search of a built site, as its pages do: node site_search.mjs SITE, with queries as JSON on standard input.
// Prints, for each query, the titles of the first ten results.
import { readFileSync, readdirSync } from "node:fs";

const site = process.argv[2];
const scripts = `${site}/assets/javascripts/workers`;
const answers = [];
globalThis.self = { postMessage: (answer) => answers.push(answer) };
const [worker] = readdirSync(scripts).filter((name) => /^search\..*\.js$/.test(name));
(0, eval)(readFileSync(`${scripts}/${worker}`, "utf8"));

async function ask(type, data) {
  self.onmessage({ data: { type, data } });
  while (answers.length === 0) await new Promise(setImmediate);
  return answers.shift().data;
}

const index = JSON.parse(readFileSync(`${site}/search.json`, "utf8"));
await ask(0, index);
const found = {};
for (const query of JSON.parse(readFileSync(0, "utf8"))) {
  const { items } = await ask(2, { input: query });
  found[query] = items.map(({ id }) => index.items[id].title.replace(/<[^>]*>/g, ""));
}
console.log(JSON.stringify(found));
