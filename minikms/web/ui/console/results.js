// A growing table of search results: a search may read many pages before it finds a row.

import { fill, h } from "./dom.js";
import { sentences } from "./notices.js";
import { addRows, button, remark, table } from "./widgets.js";

const SHOWN = 50; // rows that are added at a time

/** Rows that `source` yields as `{ items, isLast }`; `seen` is the number of rows that it has examined. */
export class Results {
  constructor({ label, columns, noun, empty, source, seen = () => 0 }) {
    Object.assign(this, { label, columns, noun, empty, source, seen });
    this.number = 0;
    this.isEnd = false;
    this.hasFailed = false;
    this.isStopped = false;
    this.table = null;
    this.status = h("p", { role: "status", class: "quiet", tabindex: "-1" });
    this.place = h("div", {});
    // Both elements stay while rows arrive, so that clicks and focus work.
    this.stop = button("Stop", () => (this.isStopped = true));
    this.more = button("Show more", () => this.showMore());
    this.element = h("div", {}, this.status, this.place, h("div", { class: "buttons" }, this.stop, this.more));
  }

  /** Begin the search, while the page is shown. */
  async begin() {
    try {
      await this.showMore();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.place.append(h("p", { role: "alert" }, sentences(error)));
    }
  }

  /** Continue the search until there are more rows to show, it ends, or Stop is pressed. */
  async showMore() {
    const goal = this.number + SHOWN;
    this.isStopped = false;
    this.tell(true);
    try {
      while (this.number < goal && !this.isStopped && !this.isEnd) {
        const { value } = await this.source.next();
        this.isEnd = value?.isLast ?? true;
        this.add(value?.items ?? []);
        this.tell(true);
      }
    } catch (error) {
      this.isEnd = this.hasFailed = true; // a source that has failed yields no more
      throw error;
    } finally {
      this.tell(false);
    }
  }

  add(rows) {
    this.number += rows.length;
    if (this.table) addRows(this.table, this.columns, rows);
    else if (rows.length > 0) fill(this.place, (this.table = table(this.label, this.columns, rows)));
    else fill(this.place, remark(this.isEnd ? this.empty : "None yet."));
  }

  /** Show the progress of the search, and offer to stop or continue it. */
  tell(isRunning) {
    const { number, isEnd, noun } = this;
    const seen = this.seen();
    const looked = seen > number ? `, of ${seen} looked through` : "";
    const end = this.hasFailed ? ". The rest was not read." : isEnd ? "." : isRunning ? " …" : ". There may be more.";
    fill(this.status, `${number} ${number === 1 ? noun : `${noun}s`}`, looked, end);
    const hadFocus = [this.stop, this.more].includes(document.activeElement);
    this.stop.hidden = isEnd || !isRunning;
    this.more.hidden = isEnd || isRunning;
    if (hadFocus) (isEnd ? this.status : isRunning ? this.stop : this.more).focus();
  }
}
