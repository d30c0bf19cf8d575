/**
 * Checks the lines of one chain of the audit log, in the order in which they were written: none was changed, moved, added or removed
 * between the first and the last one. What is missing before and behind them is for verify.ts, which knows more.
 */
import { macBeforeFirst, type RawLine, readLines } from "../../shared/audit/files.ts";
import {
  type AuditKeys,
  faultOf,
  type Line,
  type Position,
  parseLine,
  positionOf,
} from "../../shared/audit/line.ts";

export interface Place {
  readonly file: string;
  /** From 1. */
  readonly line: number;
}

type ProblemKind = "changed" | "missing" | "moved" | "cut" | "foreign" | "garbage" | "erased";

export interface Problem extends Place {
  kind: ProblemKind;
  /** A sentence without its end. */
  text: string;
}

/** Lines that are not there, where the chain itself does not say why. */
export interface Hole {
  /** The first and the last of them. */
  readonly from: number;
  readonly to: number;
  /** Wall time of the last one, signed by the line behind it. */
  readonly lastMs: number;
  readonly place: Place;
}

export type CheckedChain = Awaited<ReturnType<typeof checkChain>>;

/** Gets each line that is as it was written. */
type OnLine = (line: Line, place: Place) => void;

/** `files`: of the chain, oldest first. Rejects when one cannot be read. */
export async function checkChain(
  chain: string,
  files: readonly string[],
  keys: AuditKeys,
  onLine: OnLine,
) {
  const checker = new ChainChecker(chain, keys, onLine);
  for (const [index, file] of files.entries()) {
    checker.begin(file, index === files.length - 1);
    for await (const raw of readLines(file)) {
      checker.check(raw);
      if (checker.isForeign) return checker.result(files);
    }
  }
  return checker.result(files);
}

/** Problems of one chain; further ones are not counted. */
const MAX_PROBLEMS = 1000;

class ChainChecker {
  readonly #chain: string;
  readonly #keys: AuditKeys;
  readonly #onLine: OnLine;
  readonly #problems: Problem[] = [];
  readonly #holes: Hole[] = [];
  #file = "";
  #isLastFile = false;
  #worker = "";
  #lines = 0;
  #first: Position | undefined;
  /** The line before, as it says itself, and its place. */
  #before: Position | undefined;
  #end: Place | undefined;
  #last: (Position & Place) | undefined;
  #torn: Place | undefined;
  #isEnded = false;
  /** The line before has a number that does not fit, or cannot be read: `seq` is what its number should be. */
  #doubtful: { readonly problem?: Problem; readonly seq: number } | undefined;
  isForeign = false;

  constructor(chain: string, keys: AuditKeys, onLine: OnLine) {
    this.#chain = chain;
    this.#keys = keys;
    this.#onLine = onLine;
  }

  begin(file: string, isLast: boolean): void {
    this.#file = file;
    this.#isLastFile = isLast;
  }

  check({ text, number, isComplete }: RawLine): void {
    const place = { file: this.#file, line: number };
    if (!isComplete && this.#mayBeTorn(text)) {
      this.#torn = place;
      return;
    }
    const line = text === undefined ? undefined : parseLine(text);
    if (line === undefined) {
      this.#add(place, "garbage", "this is not a line of an audit log, or no longer");
      this.#doubtful = { seq: (this.#before?.seq ?? 0) + 1 };
      return;
    }
    if (line.chain !== this.#chain) {
      this.#judgeOther(line, place);
      return;
    }
    this.#worker ||= line.worker;
    if (!isComplete) this.#add(place, "changed", "the line feed at the end is missing");
    else this.#judge(line, place);
  }

  #judgeOther(line: Line, place: Place): void {
    const seq = (this.#before?.seq ?? 0) + 1;
    const own = { ...line, chain: this.#chain };
    if (this.#isGenuine(own, this.#before?.mac ?? macBeforeFirst(own))) {
      this.#add(place, "changed", `this line was changed: its chain should be ${this.#chain}`);
    } else this.#add(place, "moved", `this line is of another chain, ${line.chain}`);
    // It may be in the place of the next one.
    if (line.seq === seq) this.#doubtful = { seq };
  }

  result(files: readonly string[]) {
    return {
      chain: this.#chain,
      worker: this.#worker,
      files,
      /** Of the lines that are as they were written. */
      first: this.#first,
      last: this.#last,
      lines: this.#lines,
      problems: this.#problems,
      holes: this.#holes,
      /** The last line, as it says itself. */
      end: this.#before && this.#end && { ...this.#before, ...this.#end },
      isEnded: this.#isEnded,
      /** The last file ends in the middle of a line. */
      torn: this.#torn,
    };
  }

  /** The beginning of the next line: the process was killed while it wrote it. */
  #mayBeTorn(text: string | undefined): boolean {
    if (text === undefined || !this.#isLastFile || this.#isEnded) return false;
    // A whole line with something else than a line feed behind it.
    if (parseLine(text.slice(0, -1)) !== undefined) return false;
    const start = `{"seq":${(this.#before?.seq ?? 0) + 1},"chain":"${this.#chain}"`;
    return text.startsWith(start) || start.startsWith(text);
  }

  #judge(line: Line, place: Place): void {
    const before = this.#before;
    const doubtful = this.#doubtful;
    this.#doubtful = undefined;
    this.#end = place;
    this.#before = positionOf(line);
    if (before === undefined) {
      // Behind a first line that cannot be read, the mac of this one says nothing.
      if (doubtful?.seq !== 1 || line.seq !== 2) this.#judgeFirst(line, place);
      return;
    }
    const expected = before.seq + 1;
    if (line.seq === expected) {
      this.#judgeNext(line, before.mac, place);
    } else if (this.#isGenuine({ ...line, seq: expected }, before.mac)) {
      this.#before = { ...positionOf(line), seq: expected };
      this.#add(place, "changed", `this line was changed: its number should be ${expected}`);
    } else if (doubtful !== undefined && line.seq === doubtful.seq + 1) {
      // No further problem: the line before is there, but was changed in its number too.
      if (doubtful.problem === undefined) return;
      doubtful.problem.kind = "changed";
      doubtful.problem.text = `this line was changed: its number should be ${doubtful.seq}`;
    } else if (line.seq > expected) {
      this.#judgeBehindHole(line, expected, place);
    } else {
      const text = `seq ${line.seq} comes after seq ${before.seq}: this line was moved, repeated or changed`;
      this.#doubtful = { problem: this.#add(place, "moved", text), seq: expected };
      // The next line belongs behind the one before.
      this.#before = before;
    }
  }

  #judgeFirst(line: Line, place: Place): void {
    const macBefore = macBeforeFirst(line);
    if (macBefore !== undefined) {
      if (this.#judgeNext(line, macBefore, place)) this.#noteHole(line, 1, place);
      return;
    }
    // Without the line before, the mac of this one says nothing.
    if (this.#isUnknown(line, place, "")) return;
    if (!mustBeginFile(line)) {
      this.#add(place, "missing", missingText(1, line.seq - 1));
      return;
    }
    this.#add(place, "changed", `this line was changed (seq ${line.seq})`);
    if (line.kind === "audit.started") this.#before = { ...positionOf(line), seq: 1 };
  }

  #judgeBehindHole(line: Line, expected: number, place: Place): void {
    const macBefore = place.line === 1 ? macBeforeFirst(line) : undefined;
    if (macBefore === undefined) {
      const problem = this.#add(place, "missing", missingText(expected, line.seq - 1));
      this.#doubtful = { problem, seq: expected };
      return;
    }
    if (this.#judgeNext(line, macBefore, place)) this.#noteHole(line, expected, place);
  }

  /** Retention may have removed whole files: the first line of the next one says how old they were. */
  #noteHole({ chain, previous }: Line, from: number, place: Place): void {
    if (previous?.chain !== chain) return;
    this.#holes.push({ from, to: previous.seq, lastMs: Date.parse(previous.at), place });
  }

  /** Whether the line is as it was written. */
  #judgeNext(line: Line, macBefore: string, place: Place): boolean {
    if (this.#isUnknown(line, place, macBefore)) return false;
    const fault = faultOf(line, macBefore, this.#keys);
    if (fault === "changed") {
      this.#add(place, "changed", `this line was changed (seq ${line.seq})`);
      return false;
    }
    if (fault === "erased by others") {
      const text = `data of a person was erased, but not by ct-edge audit erase (seq ${line.seq})`;
      this.#add(place, "erased", text);
      return false;
    }
    const position = positionOf(line);
    this.#first ??= position;
    this.#last = { ...position, ...place };
    this.#lines++;
    this.#isEnded = line.kind === "audit.ended";
    this.#onLine(line, place);
    return true;
  }

  /** Whether it is as it was written, behind this mac. */
  #isGenuine(line: Line, macBefore: string | undefined): boolean {
    return macBefore !== undefined && faultOf(line, macBefore, this.#keys) === undefined;
  }

  #isUnknown(line: Line, place: Place, macBefore: string): boolean {
    const { accepted } = this.#keys;
    if (accepted.some(({ id }) => id === line.key)) return false;
    const own = accepted.find(({ id }) => this.#isGenuine({ ...line, key: id }, macBefore));
    if (own !== undefined) {
      this.#add(place, "changed", `this line was changed: its key should be ${own.id}`);
      return true;
    }
    const isFirst = this.#lines === 0;
    this.#add(
      place,
      "foreign",
      isFirst
        ? `signed with key ${line.key}, which this edge does not have: it is of another edge, or CT_SECRET was changed since (see --secrets)`
        : `signed with key ${line.key}, which this edge does not have`,
    );
    this.isForeign = isFirst;
    return true;
  }

  #add(place: Place, kind: ProblemKind, text: string): Problem {
    const problem = { ...place, kind, text };
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push(problem);
    return problem;
  }
}

/** Whether no line can be before it in its file, whatever was changed in it. */
function mustBeginFile({ kind, seq, previous }: Line): boolean {
  if (seq === 1 || kind === "audit.started" || kind === "audit.continued") return true;
  return previous !== undefined;
}

export function missingText(from: number, to: number): string {
  return from === to ? `line seq ${from} is missing` : `lines seq ${from} to ${to} are missing`;
}
