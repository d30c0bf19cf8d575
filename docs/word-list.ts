/**
 * One vocabulary: coined names and phrases that a reader would not search for, each with the standard term. Ordinary
 * English words are not listed. `npm run check` applies it to every text file of the project (docs/words.ts).
 */

interface Row {
  /** Matched in each line. Several words of a phrase may be on two lines: those are not found. */
  readonly words: RegExp;
  readonly instead: string;
  /** A name of the version before: allowed where that is what the place is about. */
  readonly isFormer?: true;
}

/**
 * Names of the version before are needed where they are still read or written. Such a place says so: in its own line or a
 * few lines before, or the whole file by its name.
 */
const SAYS_FORMER =
  /\bformer (?:name|path)|\bformerly|\bone version\b|\bversion before\b|\b(?:older|previous) version\b|\bPREVIOUS_|\bFORMER/i;
const CONTEXT_LINES = 20;
const FORMER_FILES = /former|old-names|renamed|CHANGELOG\.md$/;

const ROWS: readonly Row[] = [
  // --- coined names, also as part of identifiers ---
  { words: /farewell|good-?bye/i, instead: "migrate (clients)", isFormer: true },
  { words: /\bheirs?\b|[a-z]Heir|\bheir[A-Z_]|_heir/, instead: "successor", isFormer: true },
  { words: /baggage|luggage/i, instead: "pending messages, handover inbox" },
  {
    words: /\b[Pp]arcels?\b|[a-z]Parcel|\bparcel[A-Z]/,
    instead: "outbound message, frame",
    isFormer: true,
  },
  { words: /turnstile/i, instead: "admission limiter" },
  { words: /hearsay/i, instead: "store-outage reports" },
  { words: /\b[Ll]edgers?\b|[a-z]Ledger\b/, instead: "write queue" },
  { words: /\b[Cc]ensus\b|[a-z]Census\b/, instead: "usage, people counter", isFormer: true },
  { words: /\bobey|obedien/i, instead: "handle a command, command listener; follow" },
  {
    words: /\b[Bb]ur(?:y|ied|ies)\b|[a-z]Bur(?:y|ied)\b|\bbur(?:y|ied)[A-Z_]|_buried/,
    instead: "revoke, revoked",
    isFormer: true,
  },
  { words: /foresee|foreseen/i, instead: "simulate" },
  { words: /whereabouts/i, instead: "store location" },
  { words: /\bcalmMs\b/, instead: "idleMs", isFormer: true },
  { words: /\bstandFor\b|\bgiveAway\b|\btellView\b/, instead: "the term of docs/word-list.ts" },
  {
    words: /\bnot-meant\b|\bnotMeant\b|\bbroken-off\b|\bbrokenOff\b|\bunwell\b/,
    instead: "misrouted, connection-closed, probe-failed",
    isFormer: true,
  },
  { words: /\b[Hh]and-overs?\b/, instead: "handover", isFormer: true },
  { words: /x-ct-life\b/, instead: "x-ct-incarnation", isFormer: true },
  { words: /\bself-?same\b|\bthereupon\b|\bhenceforth\b|\bhitherto\b/i, instead: "plain English" },
  // --- phrases ---
  { words: /\banew\b/i, instead: "again, re-" },
  { words: /\bagain and again\b/i, instead: "repeatedly" },
  { words: /\bfor ever\b/i, instead: "indefinitely" },
  { words: /\bmakes? no sense\b|\bmade no sense\b/i, instead: "is invalid" },
  {
    words: /\b(?:is|are|was|were|be|been) told of\b|\btells? of\b/i,
    instead: "is recorded, reports",
  },
  { words: /\bwhoever\b|\bwhosoever\b/i, instead: "any client that, the first to" },
  {
    words: /\bis well again\b|\bwhether (?:it|one|a worker) is well\b/i,
    instead: "healthy, unhealthy, down",
    isFormer: true,
  },
  { words: /\blets? go of\b|\btakes? leave of\b/i, instead: "migrate, release, close" },
  { words: /\b(?:says?|said|speaks?|spoke) against\b/i, instead: "why not, the reason" },
  { words: /\bword to the contrary\b|\bthe word of (?:a|the) \w+\b/i, instead: "the message" },
  { words: /\bfor so long\b|\bso long as\b/i, instead: "for that long, as long as" },
  { words: /\bas good as not there\b/i, instead: "treated as missing" },
  { words: /\blicence[sd]?\b/i, instead: "license", isFormer: true },
];

export interface Finding {
  /** From 1. */
  readonly line: number;
  readonly words: string;
  readonly instead: string;
}

/** The listed words in one file; `file` is its path from the project's root. */
export function findWords(file: string, text: string): readonly Finding[] {
  const lines = text.split("\n");
  const isAboutFormer = (index: number): boolean =>
    FORMER_FILES.test(file) ||
    lines
      .slice(Math.max(0, index - CONTEXT_LINES), index + 1)
      .some((line) => SAYS_FORMER.test(line));
  return lines.flatMap((content, index) =>
    ROWS.flatMap(({ words, instead, isFormer }) => {
      const found = words.exec(content)?.[0];
      if (found === undefined || (isFormer === true && isAboutFormer(index))) return [];
      return [{ line: index + 1, words: found, instead }];
    }),
  );
}
