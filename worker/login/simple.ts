/** Sign-in with just a name, unverified: for trusted networks, where the host checks who asks to join. */
import { z } from "zod";
import { UNVERIFIED_PROVIDER } from "../../shared/store/user-record.ts";
import { isEmail, readName } from "./display-name.ts";
import { BUILTINS, info, refused, type SignInWay, signInToken } from "./form-provider.ts";

/**
 * `keepsEmail`: whether the unverified email is shown to hosts. VS Code's `oct.joinAcceptMode=allowlist` admits a guest by it
 * without asking the host, and anyone can enter any email.
 */
export function createSimpleLogin({ keepsEmail }: { readonly keepsEmail: boolean }): SignInWay {
  return {
    name: "simple",
    authProvider: UNVERIFIED_PROVIDER,
    form: {
      type: "form",
      name: "unverified",
      endpoint: "/api/login/simple",
      group: BUILTINS,
      label: info("UnverifiedLoginLabel", "Unverified"),
      details: info("UnverifiedLoginDetails", "Enter your name; it is not verified"),
      fields: [
        {
          name: "user",
          required: true,
          label: info("UsernameLabel", "Username"),
          placeHolder: info("UsernamePlaceholder", "The name shown to the others in the session"),
        },
        {
          // Clients of the protocol expect the field even where it is not used.
          name: "email",
          required: false,
          label: info("EmailLabel", "Email"),
          placeHolder: keepsEmail
            ? info("EmailPlaceholder", "An address shown to the host when you join")
            : info("EmailUnusedPlaceholder", "Leave empty: unverified addresses are not used"),
        },
      ],
    },
    read(body) {
      const form = formSchema.safeParse(body).data;
      if (form === undefined) return refused(400, "form", "The form needs a token and a user");
      const { token } = form;
      const name = readName(form.user);
      if (name === undefined) {
        return refused(
          400,
          "name",
          "A name must have 1 to 100 characters, all of them displayable",
        );
      }
      const email = keepsEmail ? (form.email?.trim() ?? "") : "";
      if (email === "") return { outcome: "accepted", token, user: { name } };
      if (!isEmail(email)) return refused(400, "email", "This is not a valid email address");
      return { outcome: "accepted", token, user: { name, email } };
    },
    recognize({ email, ...user }) {
      return keepsEmail && email !== undefined ? { ...user, email } : user;
    },
  };
}

/** Bounds the work only; the rules for a name are below. */
const MAX_FIELD_CHARS = 10_000;
const formSchema = z.object({
  token: signInToken,
  user: z.string().max(MAX_FIELD_CHARS),
  /** Forms send an empty field as an empty text. */
  email: z.string().max(MAX_FIELD_CHARS).nullish(),
});
