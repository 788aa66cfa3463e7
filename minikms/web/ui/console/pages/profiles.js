// The page of profiles: the tenants.

import { foreign, h } from "../dom.js";
import { segment } from "../api.js";
import { chooseProfile, request } from "../session.js";
import { ask, button, field, form, input, submit, table, tell } from "../widgets.js";

/** The content of the page. */
export async function profiles({ signal, refresh }) {
  const { profiles: names } = await request("GET", "profiles", { signal });
  const make = async ({ name }) => {
    await request("POST", "profile", { body: { name } });
    tell("The profile is made.");
    tellMenu();
    await refresh();
  };
  return [
    h("h1", {}, "Profiles"),
    h("p", {}, "A profile is a tenant: its keys, aliases and labels are not seen from another one."),
    table("Profiles", columns(refresh), names, "This token is for no profile."),
    form({ class: "filters" }, make, field("New profile", input("name", { required: true, maxlength: 128 })), h("div", { class: "buttons" }, submit("Make"))),
  ];
}

/** Let the menu show the profiles as they are now. */
function tellMenu() {
  window.dispatchEvent(new Event("profileschange"));
}

function columns(refresh) {
  return [
    ["Profile", foreign],
    [
      "Actions",
      (name) =>
        h(
          "div",
          { class: "buttons" },
          button("Show keys", () => open(name), { class: "small", "aria-label": `Show the keys of ${name}` }),
          button("Publish keys", () => askPublishing(name, true), { class: "small", "aria-label": `Publish the keys of ${name}` }),
          button("Withdraw keys", () => askPublishing(name, false), { class: "small", "aria-label": `Withdraw the keys of ${name}` }),
          name !== "default" &&
            button("Delete", () => askDeletion(name, refresh), { class: "small danger", "aria-label": `Delete the profile ${name}` })
        ),
    ],
  ];
}

function open(name) {
  chooseProfile(name);
  tellMenu();
  location.hash = "#/keys";
}

function askPublishing(name, isPublic) {
  const jwks = isPublic ? "public" : "private";
  ask({
    title: isPublic ? "Publish the public keys?" : "Withdraw the public keys?",
    lost: [
      isPublic
        ? ["Everyone who reaches the service can then read the JWK Set of ", foreign(name), " without a token: its public keys, kids and aliases."]
        : ["Verifiers without a token can then no longer read the JWK Set of ", foreign(name), "."],
    ],
    action: isPublic ? "Publish" : "Withdraw",
    run: async () => {
      await request("PATCH", `profile/${segment(name)}`, { body: { jwks } });
      tell(`The JWK Set is ${jwks}.`);
    },
  });
}

function askDeletion(name, refresh) {
  ask({
    title: "Delete this profile?",
    lost: [
      ["Lost are all keys, aliases and labels of ", foreign(name), ", and the tokens that are for it alone."],
      "What was encrypted to these keys can never be read again. This cannot be undone.",
    ],
    typed: name,
    action: "Delete",
    run: async () => {
      await request("DELETE", `profile/${segment(name)}`);
      tell("The profile is deleted.");
      tellMenu();
      await refresh();
    },
  });
}
