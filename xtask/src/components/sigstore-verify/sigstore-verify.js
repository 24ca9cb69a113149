#!/usr/bin/env node
// sigstore-verify KEY BUNDLE: whether the bundle in a file is signed by the public key in a file (PEM), as the JavaScript client of Sigstore
// judges it, without logs, time stamps and certificates. Prints what was signed; ends with 1 where the signature does not hold.
'use strict';

const fs = require('node:fs');
const { createPublicKey } = require('node:crypto');
const { bundleFromJSON } = require('@sigstore/bundle');
const { Verifier, toSignedEntity, toTrustMaterial } = require('@sigstore/verify');

const [keyFile, bundleFile] = process.argv.slice(2);
if (keyFile === '--version') {
  console.log(require('@sigstore/verify/package.json').version);
  process.exit(0);
}
const publicKey = createPublicKey(fs.readFileSync(keyFile));
const nobody = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
const material = toTrustMaterial(nobody, () => ({ publicKey, validFor: () => true }));
const verifier = new Verifier(material, { ctlogThreshold: 0, tlogThreshold: 0, timestampThreshold: 0 });
try {
  const bundle = bundleFromJSON(JSON.parse(fs.readFileSync(bundleFile, 'utf8')));
  verifier.verify(toSignedEntity(bundle));
  process.stdout.write(bundle.content.dsseEnvelope.payload);
} catch (error) {
  console.error(`${error.code ?? error.name}: ${error.message}`);
  process.exit(1);
}
