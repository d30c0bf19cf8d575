/**
 * Signing in by just saying one's name: for trusted networks, where the host looks at who wants to join.
 */
import { z } from "zod";
import { BUILTINS, info, refused, type SignInWay, signInToken } from "./form-provider.ts";

/**
 * `keepsEmail`: whether the email that somebody types is shown to hosts. VS Code's `oct.joinAcceptMode=allowlist` lets in
 * by it without a question, whoever typed it.
 */
export function createSimpleLogin({ keepsEmail }: { readonly keepsEmail: boolean }): SignInWay {
  return {
    name: "simple",
    authProvider: "Unverified",
    form: {
      type: "form",
      name: "unverified",
      endpoint: "/api/login/simple",
      group: BUILTINS,
      label: info("UnverifiedLoginLabel", "Unverified"),
      details: info("UnverifiedLoginDetails", "Say who you are; nobody checks it"),
      fields: [
        {
          name: "user",
          required: true,
          label: info("UsernameLabel", "Username"),
          placeHolder: info("UsernamePlaceholder", "The name that others in the session will see"),
        },
        {
          // Clients of the protocol expect it, also where it is not used.
          name: "email",
          required: false,
          label: info("EmailLabel", "Email"),
          placeHolder: keepsEmail
            ? info("EmailPlaceholder", "An address that the host will see when you join")
            : info(
                "EmailUnusedPlaceholder",
                "Leave it empty: nobody has checked it, so it is not used",
              ),
        },
      ],
    },
    read(body) {
      const form = formSchema.safeParse(body).data;
      if (form === undefined) return refused(400, "form", "The form must have a token and a user");
      const { token } = form;
      const name = readName(form.user);
      if (name === undefined) {
        return refused(400, "name", "A name has 1 to 100 visible characters");
      }
      const email = keepsEmail ? (form.email?.trim() ?? "") : "";
      if (email === "") return { outcome: "accepted", token, user: { name } };
      if (!isEmail(email)) return refused(400, "email", "This is not an email address");
      return { outcome: "accepted", token, user: { name, email } };
    },
    recognize({ email, ...user }) {
      return keepsEmail && email !== undefined ? { ...user, email } : user;
    },
  };
}

/** Bounds work only; what a name may be is said below. */
const MAX_FIELD_CHARS = 10_000;
/** In code points, so that no script is short-changed. */
const NAME_LENGTH = /^.{1,100}$/su;
/** The longest address that mail can be sent to (RFC 5321 §4.5.3.1.3, less the brackets). */
const MAX_EMAIL_CHARS = 254;

const formSchema = z.object({
  token: signInToken,
  user: z.string().max(MAX_FIELD_CHARS),
  /** Forms send a field that was left empty as an empty text. */
  email: z.string().max(MAX_FIELD_CHARS).nullish(),
});

/**
 * What drives terminals, breaks lines, or makes text be shown in another order than it stands, so that a name could look
 * like somebody else's: controls, separators, half characters, and the overrides of bidirectional text.
 */
const UNSHOWABLE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u202A-\u202E\u2066-\u2069\u200E\u200F\u061C]/u;
/** Something must be seen of a name: spaces and marks that join letters are not enough. */
const VISIBLE = /[\p{L}\p{N}\p{P}\p{S}]/u;
/** One `@` with something on both sides; more is for the mail server to say. */
const EMAIL = /^[^\s@<>()[\]",;:\\]+@[^\s@<>()[\]",;:\\]+$/u;

function readName(text: string): string | undefined {
  const name = text.trim().normalize("NFC");
  const isName = NAME_LENGTH.test(name) && !UNSHOWABLE.test(name) && VISIBLE.test(name);
  return isName ? name : undefined;
}

function isEmail(text: string): boolean {
  return text.length <= MAX_EMAIL_CHARS && !UNSHOWABLE.test(text) && EMAIL.test(text);
}
