/** Sign-in for programs, with a key of `CT_LOGIN_API_KEY`. Hosts see the name that the operator gave the key. */
import { createHash, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import type { ApiKey } from "../../shared/settings/api-keys.ts";
import { API_KEY_PROVIDER } from "../../shared/store/user-record.ts";
import { BUILTINS, info, refused, type SignInWay, signInToken } from "./form-provider.ts";

const NAMELESS_USER = "API Key User";

export function createApiKeyLogin(keys: readonly ApiKey[]): SignInWay {
  const accepted = keys.map(({ name = NAMELESS_USER, key }) => ({ name, digest: digest(key) }));
  return {
    name: "apikey",
    authProvider: API_KEY_PROVIDER,
    form: {
      type: "form",
      name: "apikey",
      endpoint: "/api/login/apikey",
      group: BUILTINS,
      label: info("ApiKeyLoginLabel", "API Key"),
      details: info("ApiKeyLoginDetails", "For programs: sign in with an API key of this server"),
      fields: [
        {
          name: "apiKey",
          required: true,
          label: info("ApiKeyLabel", "API Key"),
          placeHolder: info("ApiKeyPlaceholder", "An API key of this server"),
        },
      ],
    },
    read(body) {
      const form = formSchema.safeParse(body).data;
      if (form === undefined) return refused(400, "form", "The form needs a token and an apiKey");
      const given = digest(form.apiKey);
      let name: string | undefined;
      // Compares with all keys, by digests of equal length, so that the time reveals nothing about any key (CWE-208).
      for (const one of accepted) if (timingSafeEqual(given, one.digest)) name = one.name;
      if (name === undefined) return refused(403, "api-key", "Invalid API key");
      return { outcome: "accepted", token: form.token, user: { name } };
    },
    // Removing a key from the list also signs out its holder.
    recognize: (user) => (accepted.some(({ name }) => name === user.name) ? user : undefined),
  };
}

const formSchema = z.object({ token: signInToken, apiKey: z.string().min(1).max(10_000) });

function digest(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}
