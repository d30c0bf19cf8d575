/** A user, as tokens, sessions and tickets name it. */
import { z } from "zod";

export interface UserRecord {
  readonly id: string;
  readonly name: string;
  readonly email?: string;
  readonly authProvider?: string;
  /** The sign-in at an identity provider by which it came: when that ends, so does what it allowed. */
  readonly signIn?: string;
}

/** `authProvider` of people who have typed a name, and of programs with an API key. */
export const UNVERIFIED_PROVIDER = "Unverified";
export const API_KEY_PROVIDER = "API Key";

const text = z.string().max(65_536);

/** What other versions write is read too, so the limits are wide. */
export const userRecordSchema: z.ZodType<UserRecord> = z.object({
  id: text,
  name: text,
  email: text.exactOptional(),
  authProvider: text.exactOptional(),
  signIn: text.exactOptional(),
});
