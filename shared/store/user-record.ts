/** A user, as tokens, sessions and tickets name it. */
import { z } from "zod";

/** `authProvider` of people who have typed a name, and of programs with an API key. */
export const UNVERIFIED_PROVIDER = "Unverified";
export const API_KEY_PROVIDER = "API Key";

const text = z.string().max(65_536);

/** What other versions write is read too, so the limits are wide. */
export const userRecordSchema = z.object({
  id: text,
  name: text,
  email: text.exactOptional(),
  authProvider: text.exactOptional(),
  /** The sign-in at an identity provider by which it came: when that ends, so does what it allowed. */
  signIn: text.exactOptional(),
});
export type UserRecord = Readonly<z.infer<typeof userRecordSchema>>;
