/**
 * What every way to sign in with a form has: how clients are told of it, and what becomes of a form that was sent.
 */
import { z } from "zod";
import type { UserRecord } from "../../shared/store/store.ts";

export interface SignInWay {
  /** Counts and logs call it so. */
  readonly name: "simple" | "apikey";
  /** What the claims of its tokens say. A token counts only while its way is on. */
  readonly authProvider: string;
  /** What clients are told, in the protocol's words; `endpoint` is where the form goes. */
  readonly form: FormProvider;
  /** Judges a form that was sent: from outside, unchecked. */
  read(body: unknown): SignInForm;
  /**
   * Who a token of this way speaks for now, because it outlives settings for up to 30 days; undefined when it counts no
   * more.
   */
  recognize(user: UserRecord): UserRecord | undefined;
}

export type SignInForm =
  | {
      readonly outcome: "accepted";
      /** The sign-in that is finished by it. */
      readonly token: string;
      readonly user: { readonly name: string; readonly email?: string };
    }
  /** `message` is shown to people. */
  | {
      readonly outcome: "refused";
      readonly status: 400 | 403;
      readonly reason: string;
      readonly message: string;
    };

/** A form as the protocol describes it to clients. */
export interface FormProvider {
  readonly type: "form";
  readonly name: string;
  readonly endpoint: `/api/login/${string}`;
  readonly group: Info;
  readonly label: Info;
  readonly details: Info;
  readonly fields: readonly {
    readonly name: string;
    readonly required: boolean;
    readonly label: Info;
    readonly placeHolder: Info;
  }[];
}

/** A text with a code by which clients find their own translation. */
export interface Info {
  readonly code: string;
  readonly params: readonly string[];
  readonly message: string;
}

export function info(code: string, message: string): Info {
  return { code, params: [], message };
}

/** Where clients list the ways that the server itself brings. */
export const BUILTINS: Info = info("BuiltinsGroup", "Builtins");

/** Whether `text` could be the token of a sign-in; what else somebody sends need not be looked up. */
export function isSignInToken(text: string): boolean {
  return /^[A-Za-z0-9]{1,256}$/.test(text);
}

/** The token of a sign-in, as it stands in a form. */
export const signInToken = z.string().refine(isSignInToken);

export function refused(status: 400 | 403, reason: string, message: string): SignInForm {
  return { outcome: "refused", status, reason, message };
}
