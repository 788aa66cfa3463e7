// What a search finds, in a table that grows: a search may look through many pages before it finds a row.

import { fill, h } from "./dom.js";
import { button, sentences, table } from "./widgets.js";

const SHOWN = 50; // rows that are added at a time

/** The rows that `source` yields as `{ items, isLast }`, `seen` being the number that it has looked through. */
export class Results {
  constructor({ label, columns, noun, empty, source, seen = () => 0 }) {
    Object.assign(this, { label, columns, noun, empty, source, seen });
    this.rows = [];
    this.isEnd = false;
    this.isStopped = false;
    this.status = h("p", { role: "status", class: "quiet" });
    this.place = h("div", {});
    this.element = h("div", {}, this.status, this.place);
  }

  /** Begin the search, while the page is shown. */
  async begin() {
    try {
      await this.showMore();
    } catch (error) {
      if (error.name === "AbortError") return;
      fill(this.place, h("p", { role: "alert" }, sentences(error)));
    }
  }

  /** Search on until there are more rows to show, the end, or a press of Stop. */
  async showMore() {
    const goal = this.rows.length + SHOWN;
    this.isStopped = false;
    while (this.rows.length < goal && !this.isStopped && !this.isEnd) {
      const { value } = await this.source.next();
      this.rows.push(...(value?.items ?? []));
      this.isEnd = value?.isLast ?? true; // a source that has failed yields no more
      this.show(true);
    }
    this.show(false);
  }

  show(isRunning) {
    const { rows, isEnd, noun } = this;
    const seen = this.seen();
    const number = `${rows.length} ${rows.length === 1 ? noun : `${noun}s`}`;
    const looked = seen > rows.length ? `, of ${seen} looked through` : "";
    const end = isEnd ? "." : isRunning ? " …" : ". There may be more.";
    fill(this.status, number, looked, end);
    fill(
      this.place,
      table(this.label, this.columns, rows, isEnd ? this.empty : "None yet."),
      !isEnd && (isRunning ? button("Stop", () => (this.isStopped = true)) : button("Show more", () => this.showMore()))
    );
  }
}
