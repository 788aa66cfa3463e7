// Swagger UI, changed so that each example works unchanged on a new service.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
const CERTIFIED = /^\/key\/([^/]+)\/certificates$/;
const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/** Paths and methods of the document by operationId. */
function operationsById(spec) {
  const found = new Map();
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of METHODS.filter((method) => method in item)) {
      found.set(item[method].operationId, [path, method]);
    }
  }
  return found;
}

/** The bytes of a text in base64url, each as a character. */
function decoded(text) {
  return atob(text.replace(/-/g, "+").replace(/_/g, "/"));
}

/** The verkey of an Ed25519 JWK: its public key in base58, as DIDComm v1 has it. */
function verkeyOf(jwk) {
  let number = [...decoded(jwk.x)].reduce((sum, c) => sum * 256n + BigInt(c.charCodeAt(0)), 0n);
  let text = "";
  for (; number > 0n; number /= 58n) text = BASE58[number % 58n] + text;
  return text;
}

/** The kid of an Ed25519 JWK (RFC 7638), which browsers compute only for pages of HTTPS and of this machine. */
async function kidOf({ crv, kty, x }) {
  const text = new TextEncoder().encode(JSON.stringify({ crv, kty, x }));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", text));
  return btoa(String.fromCharCode(...hash)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
}

/** The examples of `importKey`, by alias, and Ed25519 keys also by verkey and kid. */
async function exampleKeys(spec) {
  const [path, method] = operationsById(spec).get("importKey");
  const { examples } = spec.paths[path][method].requestBody.content["application/json"];
  const bodies = Object.values(examples).map((example) => example.value);
  const ofWallets = bodies.filter(({ jwk }) => jwk?.crv === "Ed25519");
  return new Map([
    ...bodies.map((body) => [body.alias, body]),
    ...ofWallets.map((body) => [verkeyOf(body.jwk), body]),
    ...(window.isSecureContext ? await Promise.all(ofWallets.map(async (body) => [await kidOf(body.jwk), body])) : []),
  ]);
}

/** The names of a call's keys, in its query and in its body, or the kid that gets certificates. */
function namesIn(request) {
  const { pathname, searchParams } = new URL(request.url);
  if (pathname === "/key") return [searchParams.get("alias")];
  const [, certified] = pathname.match(CERTIFIED) ?? [];
  if (certified) return [certified];
  const { alias, from, recipients = [], packed } = JSON.parse(request.body);
  const verkeys = packed ? JSON.parse(decoded(packed.protected)).recipients : [];
  return [
    ...[alias, from],
    ...recipients.map((recipient) => recipient.alias),
    ...verkeys.map((recipient) => recipient.header.kid),
  ];
}

/** If calls need no token, import the example keys that a call names and the service lacks. */
async function importExampleKeys(spec, request) {
  const { pathname } = new URL(request.url);
  // Other calls by kid are for keys that are there.
  const isForThere = pathname.startsWith("/key/") && !(request.method === "PUT" && CERTIFIED.test(pathname));
  if (spec.components.securitySchemes || isForThere) return;
  let names;
  try {
    names = new Set(namesIn(request));
  } catch {
    return; // the service names its fault
  }
  const profile = request.headers["X-Profile"];
  const headers = {
    "Content-Type": "application/json",
    ...(profile === undefined ? {} : { "X-Profile": profile }),
  };
  const keys = await exampleKeys(spec);
  for (const name of names) {
    if (!keys.has(name)) continue;
    const search = new URLSearchParams({ alias: keys.get(name).alias });
    const found = await fetch(new URL(`/keys?${search}`, request.url), { headers });
    if (found.ok && (await found.json()).length === 0) {
      const body = JSON.stringify(keys.get(name));
      await fetch(new URL("/key/import", request.url), { method: "POST", headers, body });
    }
  }
}

/** Fill in the parameters of other operations from an answer, by the links of OpenAPI. */
function followLinks(system, path, method, answer) {
  const spec = system.specSelectors.specJson().toJS();
  const { links = {} } = spec.paths[path][method].responses[answer.status] ?? {};
  for (const link of Object.values(links)) {
    const target = operationsById(spec).get(link.operationId);
    const shown = system.specSelectors.specResolvedSubtree(["paths", ...target, "parameters"]);
    for (const [name, expression] of Object.entries(link.parameters)) {
      const steps = expression.replace("$response.body#/", "").split("/");
      const value = steps.reduce((node, step) => node[step], JSON.parse(answer.text));
      system.specActions.changeParam(target, name, "path", value, false);
      const parameter = shown?.find((one) => one.get("name") === name);
      if (parameter) system.specActions.changeParamByIdentity(target, parameter, value, false);
    }
  }
}

const LinksPlugin = (system) => ({
  statePlugins: {
    spec: {
      wrapActions: {
        setResponse: (original) => (path, method, answer) => {
          if (answer.ok) followLinks(system, path, method, answer);
          return original(path, method, answer);
        },
      },
    },
  },
});

/** The content of a closed panel: its summary, and whether a token is given. */
const closed = (operation) => operation.delete("op");

/** Redraw only changed operations; Swagger UI alone redraws all of them. */
const DrawingPlugin = () => {
  const drawnUnless = (isSame) => (Original, { React }) => {
    const Drawn = React.memo(Original, isSame);
    return (props) => React.createElement(Drawn, props);
  };
  return {
    wrapComponents: {
      operation: drawnUnless(
        (now, next) =>
          !now.isShown && !next.isShown && closed(now.operation).equals(closed(next.operation))
      ),
      Markdown: drawnUnless(
        (now, next) => now.source === next.source && now.className === next.className
      ),
    },
  };
};

window.addEventListener("load", () => {
  const ui = SwaggerUIBundle({
    url: "./swagger.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis],
    plugins: [LinksPlugin, DrawingPlugin],
    layout: "BaseLayout",
    defaultModelsExpandDepth: 0,
    // Calls that delete come last in their group; the others keep the order of the document.
    operationsSorter: (a, b) =>
      (a.get("method") === "delete") - (b.get("method") === "delete"),
    requestInterceptor: async (request) => {
      if (!request.loadSpec) {
        await importExampleKeys(ui.specSelectors.specJson().toJS(), request);
      }
      return request;
    },
  });
});
