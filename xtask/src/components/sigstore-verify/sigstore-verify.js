#!/usr/bin/env node
// sigstore-verify TRUSTED BUNDLE: whether the bundle in a file is signed, as the JavaScript client of Sigstore judges it: by a public key
// (PEM), without logs, time stamps and certificates, or by whom a trusted root (JSON) knows, with all of these. Prints what was signed, and
// as whom on the other stream; ends with 1 where the signature does not hold.
'use strict';

const fs = require('node:fs');
const { createPublicKey } = require('node:crypto');
const { bundleFromJSON } = require('@sigstore/bundle');
const { TrustedRoot } = require('@sigstore/protobuf-specs');
const { Verifier, toSignedEntity, toTrustMaterial } = require('@sigstore/verify');

const [trustedFile, bundleFile] = process.argv.slice(2);
if (trustedFile === '--version') {
  console.log(require('@sigstore/verify/package.json').version);
  process.exit(0);
}
const trusted = fs.readFileSync(trustedFile, 'utf8');
let verifier;
if (trusted.startsWith('{')) {
  // What a root names is asked for, as promo does.
  const root = TrustedRoot.fromJSON(JSON.parse(trusted));
  const [tlogThreshold, ctlogThreshold] = [root.tlogs, root.ctlogs].map((logs) => Math.min(logs.length, 1));
  verifier = new Verifier(toTrustMaterial(root), { tlogThreshold, ctlogThreshold, timestampThreshold: 1 });
} else {
  const publicKey = createPublicKey(trusted);
  const nobody = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
  const material = toTrustMaterial(nobody, () => ({ publicKey, validFor: () => true }));
  verifier = new Verifier(material, { ctlogThreshold: 0, tlogThreshold: 0, timestampThreshold: 0 });
}
try {
  const bundle = bundleFromJSON(JSON.parse(fs.readFileSync(bundleFile, 'utf8')));
  const signer = verifier.verify(toSignedEntity(bundle));
  process.stdout.write(bundle.content.dsseEnvelope.payload);
  process.stderr.write(signer.identity?.subjectAlternativeName ?? '');
} catch (error) {
  console.error(`${error.code ?? error.name}: ${error.message}`);
  process.exit(1);
}
