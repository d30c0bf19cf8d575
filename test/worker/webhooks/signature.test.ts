import { expect, test } from "vitest";
import { parseSecret, signedHeaders } from "../../../worker/webhooks/signature.ts";

test("a signature is the one of the Standard Webhooks specification", () => {
  const secret = parseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  expect(secret).toBeDefined();
  if (secret === undefined) return;
  const delivery = {
    id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
    atSeconds: 1614265330,
    body: '{"test": 2432232314}',
  };
  expect(signedHeaders(delivery, [secret])).toEqual({
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  });
});

test("during a rotation there is a signature by each secret, with a space between them", () => {
  const secrets = [Buffer.alloc(24, 1), Buffer.alloc(24, 2)];
  const { "webhook-signature": both = "" } = signedHeaders(
    { id: "a", atSeconds: 1, body: "{}" },
    secrets,
  );
  const one = secrets.map(
    (secret) => signedHeaders({ id: "a", atSeconds: 1, body: "{}" }, [secret])["webhook-signature"],
  );
  expect(both.split(" ")).toEqual(one);
});

test("a secret is whsec_ and 24 to 64 bytes in base64", () => {
  const of = (bytes: number): string => `whsec_${Buffer.alloc(bytes, 7).toString("base64")}`;
  expect(parseSecret(of(24))?.length).toBe(24);
  expect(parseSecret(of(64))?.length).toBe(64);
  for (const wrong of [of(23), of(65), "", "whsec_", of(32).slice(6), `${of(32)}!`, "whsec_äöü"]) {
    expect(parseSecret(wrong)).toBeUndefined();
  }
});
