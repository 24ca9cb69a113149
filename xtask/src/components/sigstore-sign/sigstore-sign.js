#!/usr/bin/env node
// sigstore-sign DIRECTORY IDENTITY ISSUER TYPE FILE [--private] [--ago SECONDS] [--late SECONDS] [--key PEM]: signs what is in a file, as a payload of a
// type, as an identity that an issuer knows: the JavaScript client of Sigstore, with an authority of certificates, logs and an authority of
// time stamps that live in this process and whose keys are kept in the directory. Prints the bundle, and writes `trusted_root.json` into the
// directory. `--private` has no logs, as GitHub for private repositories; `--ago` does it all so long ago; `--late` stamps it and enters it in
// the log so much later than the certificate was issued, which is valid for ten minutes. `--key` signs with the private key in a file, with no
// certificate, and the log and the authority of time stamps bear that out.
'use strict';

const { parseArgs } = require('node:util');

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    version: { type: 'boolean' },
    private: { type: 'boolean', default: false },
    ago: { type: 'string', default: '0' },
    late: { type: 'string', default: '0' },
    key: { type: 'string' },
  },
});
if (values.version) {
  console.log(require('@sigstore/sign/package.json').version);
  process.exit(0);
}
const [directory, identity, issuer, type, file] = positionals;

// The moment for everything in this process, in whole seconds: times in certificates and stamps have no fractions (RFC 5280, RFC 3161).
const Clock = Date;
let behind = Number(values.ago) * 1000;
const now = () => Math.floor((Clock.now() - behind) / 1000) * 1000;
globalThis.Date = class extends Clock {
  constructor(...when) {
    super(...(when.length > 0 ? when : [now()]));
  }

  static now() {
    return now();
  }
};

const fs = require('node:fs');
const path = require('node:path');
const crypto = require('node:crypto');
const nock = require('nock');
const { bundleToJSON } = require('@sigstore/bundle');
const mock = require('@sigstore/mock');
const { DSSEBundleBuilder, FulcioSigner, RekorWitness, TSAWitness } = require('@sigstore/sign');

const FULCIO = 'https://fulcio.test';
const REKOR = 'https://rekor.test';
const TSA = 'https://tsa.test';

function keyPair(name) {
  const kept = path.join(directory, `${name}.pem`);
  if (!fs.existsSync(kept)) {
    const { privateKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    fs.writeFileSync(kept, privateKey.export({ format: 'pem', type: 'pkcs8' }));
  }
  const privateKey = crypto.createPrivateKey(fs.readFileSync(kept));
  return { privateKey, publicKey: crypto.createPublicKey(privateKey) };
}

function serve(url, handler) {
  nock(url).post(handler.path).reply(async (_, body) => {
    const { statusCode, response, contentType } = await handler.fn(typeof body === 'string' ? body : JSON.stringify(body));
    if (url === FULCIO) {
      behind -= Number(values.late) * 1000;
    }
    return [statusCode, response, { 'Content-Type': contentType ?? 'text/plain' }];
  });
}

const base64 = (bytes) => Buffer.from(bytes).toString('base64');
const validFor = { start: '2020-01-01T00:00:00Z' };

function log(baseUrl, key, id) {
  const publicKey = { rawBytes: base64(key), keyDetails: 'PKIX_ECDSA_P256_SHA_256', validFor };
  return { baseUrl, hashAlgorithm: 'SHA2_256', publicKey, logId: { keyId: base64(id) } };
}

function authority(uri, ...certificates) {
  const certChain = { certificates: certificates.map((certificate) => ({ rawBytes: base64(certificate) })) };
  return { subject: { organization: 'test', commonName: 'test' }, uri, certChain, validFor };
}

// Whoever has a key of their own.
function own(file) {
  const key = crypto.createPrivateKey(fs.readFileSync(file));
  const publicKey = crypto.createPublicKey(key).export({ format: 'pem', type: 'spki' });
  const sign = async (data) => ({
    signature: crypto.sign('sha256', data, key),
    key: { $case: 'publicKey', publicKey, hint: 'own' },
  });
  return { sign };
}

async function main() {
  fs.mkdirSync(directory, { recursive: true });
  const keys = keyPair('authority');
  const ctlog = values.private ? undefined : await mock.initializeCTLog(keys);
  const ca = await mock.initializeCA(keys, ctlog);
  const tlog = await mock.initializeTLog(REKOR, keyPair('log'));
  const tsa = await mock.initializeTSA(keyPair('time'));
  nock.disableNetConnect();
  serve(FULCIO, mock.fulcioHandler(ca, { strict: true }));
  serve(REKOR, mock.rekorHandler(tlog, { strict: true }));
  serve(TSA, mock.tsaHandler(tsa, { strict: true }));
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const token = `${part({ alg: 'none' })}.${part({ sub: identity, iss: issuer })}.`;
  const signer = values.key ? own(values.key) : new FulcioSigner({ fulcioBaseURL: FULCIO, identityProvider: { getToken: async () => token } });
  const witnesses = [new TSAWitness({ tsaBaseURL: TSA })];
  if (!values.private) {
    // Entries of the kind `intoto`: of the others this log keeps what was proposed and not what a log makes of it.
    witnesses.push(new RekorWitness({ rekorBaseURL: REKOR, entryType: 'intoto' }));
  }
  const bundle = await new DSSEBundleBuilder({ signer, witnesses }).create({ data: fs.readFileSync(file), type });
  // Each time the authorities make new certificates for their keys: those before are still believed.
  const rootFile = path.join(directory, 'trusted_root.json');
  const nobody = { certificateAuthorities: [], timestampAuthorities: [] };
  const before = fs.existsSync(rootFile) ? JSON.parse(fs.readFileSync(rootFile, 'utf8')) : nobody;
  const id = crypto.createHash('sha256').update(tlog.publicKey).digest();
  const root = {
    mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
    tlogs: values.private ? [] : [log(REKOR, tlog.publicKey, id)],
    certificateAuthorities: [...before.certificateAuthorities, authority(FULCIO, ca.rootCertificate)],
    ctlogs: values.private ? [] : [log('https://ct.test', ctlog.publicKey, ctlog.logID)],
    timestampAuthorities: [...before.timestampAuthorities, authority(TSA, tsa.intCertificate, tsa.rootCertificate)],
  };
  fs.writeFileSync(rootFile, JSON.stringify(root));
  process.stdout.write(JSON.stringify(bundleToJSON(bundle)));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
