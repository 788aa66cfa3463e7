// A wallet shows three data elements of mdl.cbor, and signs with device.json; a verifier trusts iaca.pem alone.
import { readFileSync } from "node:fs";
import { DeviceResponse, Verifier, parse } from "@auth0/mdl";

// The wallet. The session is the one of the request, by OpenID4VP.
const names = ["family_name", "birth_date", "issuing_country"];
const definition = { input_descriptors: [{
  id: "org.iso.18013.5.1.mDL",
  constraints: { fields: names.map((name) => ({ path: [`$['org.iso.18013.5.1']['${name}']`] })) },
}] };
const session = ["wallet nonce", "verifier.example", "https://verifier.example/answer", "nonce"];
const shown = DeviceResponse.from(parse(readFileSync("mdl.cbor")))
  .usingPresentationDefinition(definition)
  .usingSessionTranscriptForOID4VP(...session)
  .authenticateWithSignature(JSON.parse(readFileSync("device.json")), "ES256");
const response = (await shown.sign()).encode();

// The verifier.
const verifier = new Verifier([readFileSync("iaca.pem", "utf8")]);
const { documents } = await verifier.verify(response, { encodedSessionTranscript: shown.sessionTranscriptBytes });
const element = documents[0].getIssuerNameSpace("org.iso.18013.5.1");
console.log(element.family_name, element.birth_date.toISOString().slice(0, 10), element.issuing_country);
console.log(documents[0].issuerSigned.issuerAuth.certificate.subject);
