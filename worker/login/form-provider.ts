/** A sign-in method with a form: its description for clients, and the validation of submitted forms. */
import { z } from "zod";
import type { UserRecord } from "../../shared/store/store.ts";

export interface SignInWay {
  /** Its name in metrics and logs. */
  readonly name: "simple" | "apikey";
  /** In the claims of its tokens. A token is valid only while its method is on. */
  readonly authProvider: string;
  /** The protocol's description of the form; it is submitted to `endpoint`. */
  readonly form: FormProvider;
  /** Validates a submitted form: untrusted input. */
  read(body: unknown): SignInForm;
  /**
   * The user of a token of this method under today's settings, which the token may have been issued before (up to 30 days
   * ago); undefined when the token is no longer valid.
   */
  recognize(user: UserRecord): UserRecord | undefined;
}

export type SignInForm =
  | {
      readonly outcome: "accepted";
      /** The token of the sign-in that the form completes. */
      readonly token: string;
      readonly user: { readonly name: string; readonly email?: string };
    }
  /** `message` is shown to the user. */
  | {
      readonly outcome: "refused";
      readonly status: 400 | 403;
      readonly reason: string;
      readonly message: string;
    };

/** A sign-in method as the protocol describes it to clients. */
interface Provider {
  readonly name: string;
  readonly endpoint: `/api/login/${string}`;
  readonly group: Info;
  readonly label: Info;
  readonly details: Info;
}

export interface FormProvider extends Provider {
  readonly type: "form";
  readonly fields: readonly {
    readonly name: string;
    readonly required: boolean;
    readonly label: Info;
    readonly placeHolder: Info;
  }[];
}

/** A sign-in in the browser: clients open `endpoint` with `?token=`. */
export interface WebProvider extends Provider {
  readonly type: "web";
}

/** A text with a code by which clients look up their translation. */
export interface Info {
  readonly code: string;
  readonly params: readonly string[];
  readonly message: string;
}

export function info(code: string, message: string): Info {
  return { code, params: [], message };
}

/** The group in which clients list the server's own sign-in methods. */
export const BUILTINS: Info = info("BuiltinsGroup", "Builtins");

/** The group of identity providers. */
export const THIRD_PARTY: Info = info("ThirdPartyGroup", "Third party");

/** Whether `text` has the form of a sign-in token, so that other texts are refused without a lookup. */
export function isSignInToken(text: string): boolean {
  return /^[A-Za-z0-9]{1,256}$/.test(text);
}

export const signInToken = z.string().refine(isSignInToken);

export function refused(status: 400 | 403, reason: string, message: string): SignInForm {
  return { outcome: "refused", status, reason, message };
}
