/**
 * How much of HTTP one message may use. The settings bound what clients send; what workers send is bounded by the defaults.
 */

export interface HttpLimits {
  /** Whole head, start line and blank line included. */
  readonly maxHeadBytes: number;
  /** Of a request. */
  readonly maxTargetBytes: number;
  /** Lines of a head. */
  readonly maxFields: number;
  /** Extensions of all chunks of one body together (CVE-2024-22019); they are dropped. */
  readonly maxChunkExtensionBytes: number;
  /** Trailer section of one body. */
  readonly maxTrailerBytes: number;
}

export const DEFAULT_HTTP_LIMITS: HttpLimits = {
  maxHeadBytes: 32_768,
  maxTargetBytes: 8192,
  maxFields: 200,
  maxChunkExtensionBytes: 16_384,
  maxTrailerBytes: 8192,
};
