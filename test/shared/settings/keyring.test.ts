/** Which secret an edge uses while its secret is changed, process by process. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkSecrets, createKeyring, type Keyring } from "../../../shared/settings/keyring.ts";
import { SettingError } from "../../../shared/settings/read-settings.ts";
import { deriveKeys } from "../../../shared/settings/secret.ts";

const OLD = "the secret that the edge had until today";
const NEW = "the secret that the edge has from today on";
const [oldKeys, newKeys] = [deriveKeys(OLD), deriveKeys(NEW)];

const withOld = (): Keyring => createKeyring({ secret: OLD });
const withBoth = (): Keyring => createKeyring({ secret: NEW, previous: OLD });
const withNew = (): Keyring => createKeyring({ secret: NEW });

describe("a process that knows two secrets", () => {
  test("a process that knows two secrets uses the previous one until all members know the new one, and says that it knows both", () => {
    const keyring = withBoth();
    expect(keyring.token.signing).toEqual(oldKeys.token);
    expect(keyring.ringKeyFor([])).toEqual(oldKeys.ring);
    expect(keyring.known).toEqual({
      secretFingerprint: oldKeys.fingerprint,
      nextSecretFingerprint: newKeys.fingerprint,
    });
    expect(keyring.ringKeyFor([withOld().known, withBoth().known])).toEqual(oldKeys.ring);
    expect(keyring.ringKeyFor([withBoth().known, withBoth().known])).toEqual(newKeys.ring);
    expect(keyring.token.signing).toEqual(newKeys.token);
    expect(keyring.known).toEqual({ secretFingerprint: newKeys.fingerprint });
  });

  test("a process that knows two secrets goes back to the previous one when a process comes that knows no other", () => {
    const switches: boolean[] = [];
    const keyring = createKeyring({ secret: NEW, previous: OLD }, (isNew) => switches.push(isNew));
    keyring.ringKeyFor([withNew().known]);
    keyring.ringKeyFor([withNew().known, withOld().known]);
    expect(keyring.edge.signing).toEqual(oldKeys.edge);
    keyring.ringKeyFor([withNew().known]);
    expect(switches).toEqual([true, false, true]);
  });

  test("a process that knows two secrets accepts both, and addresses each member by the secret that it uses", () => {
    const keyring = withBoth();
    expect(keyring.relay.accepted).toEqual([newKeys.relay, oldKeys.relay]);
    expect(keyring.edgeKeyFor(withOld().known)).toEqual(oldKeys.edge);
    expect(keyring.edgeKeyFor(withNew().known)).toEqual(newKeys.edge);
    expect(keyring.fingerprints).toEqual([newKeys.fingerprint, oldKeys.fingerprint]);
  });

  test("a process that knows two secrets counts people by the previous key, so that nobody is counted twice", () => {
    expect(withBoth().people).toEqual(withOld().people);
  });
});

test("a process that knows one secret uses it, whatever others know", () => {
  const keyring = withNew();
  keyring.ringKeyFor([withOld().known]);
  expect(keyring.token.signing).toEqual(newKeys.token);
  expect(keyring.token.accepted).toEqual([newKeys.token]);
});

test("whichever processes have a new secret, each accepts what the others make, and all that have met have one ring", () => {
  const kinds = fc.array(fc.constantFrom(withOld, withBoth, withNew), {
    minLength: 1,
    maxLength: 8,
  });
  fc.assert(
    fc.property(kinds, (makers) => {
      // Never processes that know only the old one beside some that know only the new one.
      fc.pre(!(makers.includes(withOld) && makers.includes(withNew)));
      const keyrings = makers.map((make) => make());
      // In two rounds, as records are read.
      for (let round = 0; round < 2; round++) {
        const members = keyrings.map(({ known }) => known);
        for (const keyring of keyrings) keyring.ringKeyFor(members);
        for (const { token, known } of keyrings) {
          for (const other of keyrings) {
            expect(other.token.accepted).toContainEqual(token.signing);
            expect(other.fingerprints).toContain(known.secretFingerprint);
            expect(other.edge.accepted).toContainEqual(keyrings[0]?.edgeKeyFor(other.known));
          }
        }
      }
      const members = keyrings.map(({ known }) => known);
      const rings = new Set(keyrings.map((one) => one.ringKeyFor(members).toString("hex")));
      expect(rings.size).toBe(1);
    }),
  );
});

test.each([
  [{ secret: undefined, secretPrevious: OLD }, /set CT_SECRET to the new secret/],
  [{ secret: OLD, secretPrevious: OLD }, /are the same/],
])("invalid pairs of secrets are refused with what to do", (secrets, message) => {
  expect(() => checkSecrets(secrets)).toThrow(SettingError);
  expect(() => checkSecrets(secrets)).toThrow(message);
  expect(() => checkSecrets({ secret: NEW, secretPrevious: OLD })).not.toThrow();
});
