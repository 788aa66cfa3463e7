// The page that asks for a token.

import { h } from "../dom.js";
import { field, form, input, remark, submit } from "../widgets.js";

/** The content of the page; `enter` begins with a token. */
export function signIn(enter, note) {
  const token = input("token", { type: "password", required: true });
  const send = async (values) => {
    token.value = "";
    try {
      await enter(values.token.trim());
    } catch (problem) {
      token.focus();
      throw problem;
    }
  };
  return [
    h("h1", {}, "Sign in"),
    note && h("p", { role: "status" }, note),
    form(
      { class: "stack narrow" },
      send,
      field("Token", token, "A token of Mini KMS, which begins with mkms_, or a JWT of your identity provider."),
      h("div", { class: "buttons" }, submit("Sign in"))
    ),
    remark(
      "The token stays in the memory of this tab. It is in no storage, cookie or address, and gone when the tab is closed, " +
        "loaded again or left."
    ),
  ];
}
