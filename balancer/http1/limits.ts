/**
 * Size limits of one HTTP message. Settings may change those of heads and targets that clients send.
 */

export interface HttpLimits {
  /** Of the whole head, start line and blank line included. */
  readonly maxHeadBytes: number;
  /** Of a request line's target. */
  readonly maxTargetBytes: number;
  /** Field lines of a head. */
  readonly maxFields: number;
  /** Of the extensions of all chunks of one body together (CVE-2024-22019); they are dropped. */
  readonly maxChunkExtensionBytes: number;
  /** Of the trailer section of one body. */
  readonly maxTrailerBytes: number;
}

export const MAX_METHOD_BYTES = 32;

export const DEFAULT_HTTP_LIMITS: HttpLimits = {
  maxHeadBytes: 32_768,
  maxTargetBytes: 8192,
  maxFields: 200,
  maxChunkExtensionBytes: 16_384,
  maxTrailerBytes: 8192,
};
