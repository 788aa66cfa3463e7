// The page that tries a key: sign, verify, and a JWS with its parts decoded beside it.

import { decode, decodeJws, encodeText, pretty, shown } from "../bytes.js";
import { fill, h } from "../dom.js";
import { may, naming, request } from "../session.js";
import { badge, block, button, field, input, remark, section } from "../widgets.js";

const PAYLOAD = pretty({ iss: "did:example:123", sub: "alice" });

function titled(title, content) {
  return h("div", {}, h("h3", {}, title), content);
}

/** The content of the page; its argument is a kid. */
export async function tryOut({ argument, signal }) {
  const name = input("key", { value: argument ?? "", required: true });
  const message = h("textarea", { rows: 3, name: "message" }, "hello");
  const signature = h("textarea", { rows: 3, name: "sig", spellcheck: "false" });
  const payload = h("textarea", { rows: 5, name: "payload", spellcheck: "false" }, PAYLOAD);
  const jws = h("textarea", { rows: 6, name: "jws", spellcheck: "false" });
  const decoded = h("div", { class: "stack", "aria-live": "polite" });
  const answer = { raw: h("div", { "aria-live": "polite" }), jws: h("div", { "aria-live": "polite" }) };

  /** Send a body with the name of the key, and show both beside each other. */
  const send = async (place, path, body) => {
    const sent = { ...naming(name.value.trim()), ...body };
    const result = await request("POST", path, { body: sent, signal });
    fill(
      place,
      "valid" in result &&
        h("p", { role: "status" }, result.valid ? badge("valid", "good") : badge("not valid", "bad"), " The service has checked it."),
      h("div", { class: "beside" }, titled(`POST /${path}`, block(pretty(sent), "request")), titled("Answer", block(pretty(result), "answer")))
    );
    return result;
  };
  const showDecoded = () => {
    const parts = decodeJws(jws.value);
    if (jws.value.trim() === "") fill(decoded, remark("Its header and payload are shown here."));
    else if (parts === null) fill(decoded, remark("This is no compact JWS."));
    else {
      fill(
        decoded,
        titled("Header", block(parts.header, "header")),
        titled("Payload", block(parts.payload, "payload")),
        remark(`The signature has ${parts.length} bytes. Decoding checks nothing.`)
      );
    }
  };
  jws.addEventListener("input", showDecoded);
  showDecoded();

  const sign = async () => {
    const { sig } = await send(answer.raw, "sign", { data: encodeText(message.value) });
    signature.value = sig;
  };
  const verify = () => send(answer.raw, "verify", { data: encodeText(message.value), sig: signature.value.trim() });
  const signJws = async () => {
    const result = await send(answer.jws, "jws/sign", { payload: encodeText(payload.value), header: { typ: "JWT" } });
    jws.value = result.jws;
    showDecoded();
  };
  const verifyJws = async () => {
    await send(answer.jws, "jws/verify", { jws: jws.value.trim() });
  };
  return [
    h("h1", {}, "Try it"),
    h("p", {}, "These are calls like any other: they are in the audit log, and a signature is a real one."),
    field("Key", name, "Its alias or kid."),
    section(
      "Signature",
      h("div", { class: "beside" }, field("Message", message), field("Signature, in base64url", signature)),
      h("div", { class: "buttons" }, may("sign") && button("Sign", sign), may("verify") && button("Verify", verify)),
      answer.raw
    ),
    section(
      "JWS",
      h("div", { class: "beside" }, h("div", { class: "stack" }, field("Payload", payload), field("JWS", jws)), decoded),
      h(
        "div",
        { class: "buttons" },
        may("sign") && button("Make a JWS", signJws),
        may("verify") && button("Verify the JWS", verifyJws)
      ),
      answer.jws
    ),
  ];
}
