/**
 * Signing in with the key of `CT_LOGIN_API_KEY`: for programs.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { BUILTINS, info, refused, type SignInWay, signInToken } from "./way.ts";

export function createApiKeyLogin(apiKey: string): SignInWay {
  const expected = digest(apiKey);
  return {
    name: "apikey",
    authProvider: "API Key",
    form: {
      type: "form",
      name: "apikey",
      endpoint: "/api/login/apikey",
      group: BUILTINS,
      label: info("ApiKeyLoginLabel", "API Key"),
      details: info("ApiKeyLoginDetails", "For programs: sign in with the key of this server"),
      fields: [
        {
          name: "apiKey",
          required: true,
          label: info("ApiKeyLabel", "API Key"),
          placeHolder: info("ApiKeyPlaceholder", "The key of this server"),
        },
      ],
    },
    read(body) {
      const form = formSchema.safeParse(body).data;
      if (form === undefined) return refused(400, "form", "Missing token or apiKey");
      // Digests have one length, so the time tells nothing about the key (CWE-208).
      if (!timingSafeEqual(digest(form.apiKey), expected)) {
        return refused(403, "api-key", "Invalid API key");
      }
      return { outcome: "accepted", token: form.token, user: { name: "API Key User" } };
    },
  };
}

const formSchema = z.object({ token: signInToken, apiKey: z.string().min(1).max(10_000) });

function digest(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}
