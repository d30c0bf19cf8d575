/**
 * One vocabulary: coined names and phrases that a reader would not search for, each with the standard term. Ordinary
 * English words are not listed. `npm run check` applies it to every text file of the project (docs/words.ts).
 */

interface Row {
  /** Matched in each line. Several words of a phrase may be on two lines: those are not found. */
  readonly words: RegExp;
  readonly instead: string;
  /** Files that need the words: names of an older version, quotations. */
  readonly except?: RegExp;
}

/** Where names of the version before are read or written, and the tests of that. */
const FORMER = /former|edge-headers\.ts$|migrate\.test\.ts$|explanation\.ts$|CHANGELOG\.md$/;

const ROWS: readonly Row[] = [
  // --- coined names, also as part of identifiers ---
  { words: /farewell|good-?bye/i, instead: "migrate (clients)", except: FORMER },
  { words: /\bheirs?\b|[a-z]Heir|\bheir[A-Z_]|_heir/, instead: "successor", except: FORMER },
  { words: /baggage|luggage/i, instead: "pending messages, handover inbox" },
  {
    words: /\b[Pp]arcels?\b|[a-z]Parcel|\bparcel[A-Z]/,
    instead: "outbound message, frame",
    except: FORMER,
  },
  { words: /turnstile/i, instead: "admission limiter" },
  { words: /hearsay/i, instead: "store-outage reports" },
  { words: /\b[Ll]edgers?\b|[a-z]Ledger\b/, instead: "write queue" },
  { words: /\b[Cc]ensus\b|[a-z]Census\b/, instead: "usage, people counter", except: FORMER },
  { words: /\bobey|obedien/i, instead: "handle a command, command listener; follow" },
  {
    words: /\b[Bb]ur(?:y|ied|ies)\b|[a-z]Bur(?:y|ied)\b|\bbur(?:y|ied)[A-Z_]|_buried/,
    instead: "revoke, revoked",
    except: FORMER,
  },
  { words: /foresee|foreseen/i, instead: "simulate" },
  { words: /whereabouts/i, instead: "store location" },
  { words: /\bstandFor\b|\bgiveAway\b|\btellView\b/, instead: "the term of docs/word-list.ts" },
  {
    words: /\bnot-meant\b|\bnotMeant\b|\bbroken-off\b|\bbrokenOff\b|\bunwell\b/,
    instead: "misrouted, connection-closed, probe-failed",
    except: FORMER,
  },
  { words: /\b[Hh]and-overs?\b|\bhandOver/, instead: "handover", except: FORMER },
  { words: /x-ct-life\b/, instead: "x-ct-incarnation", except: FORMER },
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
    words: /\bis well again\b|\bwhether (?:it|one|a worker) is well\b|\bsuspect\b.*\bdead\b/i,
    instead: "healthy, unhealthy, down",
    except: FORMER,
  },
  { words: /\blets? go of\b|\btakes? leave of\b/i, instead: "migrate, release, close" },
  { words: /\b(?:says?|said|speaks?|spoke) against\b/i, instead: "why not, the reason" },
  { words: /\bword to the contrary\b|\bthe word of (?:a|the) \w+\b/i, instead: "the message" },
  { words: /\bfor so long\b|\bso long as\b/i, instead: "for that long, as long as" },
  { words: /\bas good as not there\b/i, instead: "treated as missing" },
  { words: /\blicence[sd]?\b/i, instead: "license" },
];

export interface Finding {
  /** From 1. */
  readonly line: number;
  readonly words: string;
  readonly instead: string;
}

/** The listed words in one file; `file` is its path from the project's root. */
export function findWords(file: string, text: string): readonly Finding[] {
  const rows = ROWS.filter(({ except }) => except?.test(file) !== true);
  return text.split("\n").flatMap((content, index) =>
    rows.flatMap(({ words, instead }) => {
      const found = words.exec(content)?.[0];
      return found === undefined ? [] : [{ line: index + 1, words: found, instead }];
    }),
  );
}
