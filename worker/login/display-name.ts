/** What may be shown of a person: names and email addresses that others have typed. Pure. */

/** In code points, so that all scripts get the same length. */
const NAME_LENGTH = /^.{1,100}$/su;
/** The longest address that mail can be sent to (RFC 5321 §4.5.3.1.3, less the brackets). */
const MAX_EMAIL_CHARS = 254;
/**
 * Characters that control terminals, break lines or change the order in which text is displayed, so that a name could look
 * like another one: controls, separators, lone surrogates, and the overrides of bidirectional text.
 */
const UNSHOWABLE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u202A-\u202E\u2066-\u2069\u200E\u200F\u061C]/u;
/** A name must have a visible character: spaces and combining marks are not enough. */
const VISIBLE = /[\p{L}\p{N}\p{P}\p{S}]/u;
/** One `@` with text on both sides; the rest is for a mail server to check. */
const EMAIL = /^[^\s@<>()[\]",;:\\]+@[^\s@<>()[\]",;:\\]+$/u;

/** The name without spaces around it; undefined when it cannot be shown. */
export function readName(text: string): string | undefined {
  const name = text.trim().normalize("NFC");
  const isName = NAME_LENGTH.test(name) && !UNSHOWABLE.test(name) && VISIBLE.test(name);
  return isName ? name : undefined;
}

export function isEmail(text: string): boolean {
  return text.length <= MAX_EMAIL_CHARS && !UNSHOWABLE.test(text) && EMAIL.test(text);
}
