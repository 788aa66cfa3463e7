// The page of approvals: the uses of keys that wait, their approval by a passkey, and the registration of one.

import { inWords, Mismatch, value, visible } from "../approval_words.js";
import { Problem, segment } from "../api.js";
import { decode, pretty } from "../bytes.js";
import { fill, foreign, h } from "../dom.js";
import { tell } from "../notices.js";
import { assertion, isOfPage, obstacle, register } from "../passkeys.js";
import { keyPath, may, request } from "../session.js";
import { onWaiting, readWaiting } from "../waiting.js";
import { address, ask, badge, block, button, code, facts, field, form, input, link, nameOf, remark, section, submit, time } from "../widgets.js";

const SHOWN = 100;
const UNITS = [[86_400, "days"], [3600, "h"], [60, "min"]]; // in seconds

/** The content of the page, read again now and then until `signal`. */
export async function approvals({ signal }) {
  const status = h("p", { role: "status", class: "quiet" }, "Reading …");
  const list = h("div", {});
  const uses = new Uses(status, list, signal);
  onWaiting((found) => uses.show(found), signal);
  await readWaiting();
  const fault = obstacle();
  return [
    h("h1", {}, "Waiting for approval"),
    h("p", {}, "Uses of keys that their approvers have to sign. They are described by what approvers sign, not by the words of a caller."),
    fault && h("p", {}, badge("no passkeys", "warn"), ` ${fault}`),
    status,
    list,
    fault === null && section("New passkey", registration(signal)),
  ];
}

/** The uses in the list; the element of one stays while it is the same, with the focus in it. */
class Uses {
  constructor(status, list, signal) {
    Object.assign(this, { status, list, signal });
    this.names = new Map(); // promises of the names of keys, by their kids
    this.elements = new Map(); // promises of elements, by their approvals
    this.number = null;
    this.turn = 0;
  }

  async show(found) {
    this.turn += 1;
    const turn = this.turn;
    const before = this.elements;
    this.elements = new Map(
      found.slice(0, SHOWN).map((one) => {
        const same = JSON.stringify(one);
        return [same, before.get(same) ?? this.element(one)];
      })
    );
    const elements = await Promise.all(this.elements.values());
    if (turn !== this.turn) return;
    if (this.number !== found.length) {
      this.number = found.length; // a screen reader would say the same again
      const more = this.number > SHOWN ? ` The first ${SHOWN} are shown.` : "";
      const uses = this.number === 1 ? "1 use." : `${this.number} uses, the first to expire first.`;
      fill(this.status, this.number === 0 ? "Nothing waits in this profile." : `${uses}${more}`);
    }
    for (const one of elements) one.querySelector("[data-expires]").textContent = left(Number(one.dataset.expires));
    const focused = document.activeElement;
    if (elements.length !== this.list.children.length || elements.some((one, place) => one !== this.list.children[place])) {
      fill(this.list, elements);
      if (focused.isConnected) focused.focus();
      else document.querySelector("h1").focus();
    }
  }

  /** The name of a key: an alias, if the caller may read it. */
  name(kid) {
    if (!this.names.has(kid)) this.names.set(kid, may("keys:read") ? readName(kid) : Promise.resolve(kid));
    return this.names.get(kid);
  }

  async element(approval) {
    const name = await this.name(approval.kid);
    let read;
    try {
      read = await inWords(approval, name);
    } catch (error) {
      read = { fault: error instanceof Mismatch ? error.message : "It cannot be read." };
    }
    return use(approval, name, read, this.signal);
  }
}

async function readName(kid) {
  try {
    return nameOf(await request("GET", keyPath(kid)));
  } catch (error) {
    if (error instanceof Problem) return kid;
    throw error;
  }
}

/** One use: what is asked for in words, its facts, and its buttons. */
function use(approval, name, { document, lines, fault }, signal) {
  const { id, kid, expires, state, threshold, approved_by: by, approvers } = approval;
  const [first, ...more] = fault ? ["Do not approve this use"] : lines;
  const shownName = foreign(visible(value(name)));
  const end = new Date(expires * 1000).toISOString();
  const isChange = document?.operation === "change";
  const shown = section(
    foreign(first),
    fault && h("p", { class: "fault" }, fault),
    more.length > 0 && h("ol", {}, more.map((line) => h("li", {}, foreign(line)))),
    isChange && block(visible(pretty(document.what[0].approval)), "rule"),
    facts([
      ["Key", [name !== kid && [may("keys:read") ? link(address("key", kid), shownName) : shownName, " "], code(kid, "kid")]],
      ["Asked by", document && (document.who ? foreign(visible(value(document.who))) : "anybody: callers need no token")],
      [
        "Approved",
        [`${by.length} of ${threshold}`, by.length > 0 && [": ", foreign(list(by))], " ", state === "approved" ? badge("approved", "good") : badge("waits", "warn")],
      ],
      ["Approvers", foreign(list(approvers.map((one) => one.name)))],
      ["Expires (UTC)", [time(end), ", ", h("span", { "data-expires": "" })]],
      ["Id", code(id, "id")],
    ]),
    h(
      "div",
      { class: "buttons" },
      !fault && state === "pending" && approving(approval, first, signal),
      button("Withdraw", () => askWithdrawal(approval, first), { class: "danger", "aria-label": `Withdraw: ${first}` })
    )
  );
  shown.dataset.expires = expires;
  return shown;
}

/** Names of people as a list. */
function list(names) {
  return visible([...new Set(names)].map(value).join(", "));
}

/** The buttons that approve by a passkey, one for each relying party. */
function approving({ id, document, approvers, approved_by: by }, words, signal) {
  if (obstacle() !== null) return null;
  const others = approvers.filter((one) => one.passkey !== null && isOfPage(one.rp_id) && !by.includes(one.name));
  if (others.length === 0) return remark("No approver who is left has a passkey for this page. Others approve by ", h("code", {}, "mkms approve"), ".");
  const parties = [...new Set(others.map((one) => one.rp_id))];
  return parties.map((party) => {
    const ids = others.filter((one) => one.rp_id === party).map((one) => one.passkey);
    const approve = async () => {
      const challenge = await crypto.subtle.digest("SHA-256", decode(document));
      const webauthn = await assertion(challenge, party, ids, signal);
      const done = await request("POST", `approvals/${segment(id)}`, { body: { webauthn } });
      tell(done.state === "approved" ? "The use is approved: the same call, sent again, is done once." : "You have approved the use. It needs others, too.");
      await readWaiting();
    };
    const text = parties.length > 1 ? `Approve with a passkey of ${party}` : "Approve with a passkey";
    return button(text, approve, { class: "strong", "aria-label": `${text}: ${words}` });
  });
}

function askWithdrawal({ id }, words) {
  ask({
    title: "Withdraw this use?",
    lost: [foreign(words), "It then waits no longer, and its approvals are lost. The same call, sent again, asks again."],
    action: "Withdraw",
    run: async () => {
      await request("DELETE", `approvals/${segment(id)}`);
      tell("The use is withdrawn.");
      await readWaiting();
    },
  });
}

/** The form of a new passkey, with the approver of a rule. */
function registration(signal) {
  const place = h("div", { "aria-live": "polite" });
  const make = async ({ name }) => {
    const approver = await register(name, signal);
    fill(
      place,
      h("p", {}, "Give this to whoever sets the rules of the key: it is an approver of the rule approval. The service keeps nothing of it, and the private key stays on your device."),
      block(pretty(approver), "approver")
    );
    place.querySelector("pre").focus();
  };
  return h(
    "div",
    { class: "stack narrow" },
    remark(`It approves uses of keys on pages of ${location.origin}.`),
    form(
      { class: "filters" },
      make,
      field("Your name", input("name", { required: true, maxlength: 128 })),
      h("div", { class: "buttons" }, submit("Register a passkey"))
    ),
    place
  );
}

/** The time until an end in seconds since the epoch, in words. */
function left(expires) {
  const seconds = Math.round(expires - Date.now() / 1000);
  if (seconds <= 0) return "expired";
  const [size, unit] = UNITS.find(([each]) => seconds >= 2 * each) ?? [1, "s"];
  return `in ${Math.round(seconds / size)} ${unit}`;
}
