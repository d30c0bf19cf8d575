/**
 * What is open now: added and removed with every connection. A `Set` would do the same, but each time it grows it leaves its
 * old table behind, which refers to the next one: once such a table is old, the young generation's collections keep it and
 * the closed connections in it until the next full collection.
 */

/** A member of an `OpenList`. */
export interface Listed {
  /** Where it is in the list; -1: nowhere. Written by the list only. */
  place: number;
}

export class OpenList<Member extends Listed> {
  readonly #members: Member[] = [];

  get size(): number {
    return this.#members.length;
  }

  add(member: Member): void {
    member.place = this.#members.length;
    this.#members.push(member);
  }

  /** No effect if it is not in the list. */
  delete(member: Member): void {
    const { place } = member;
    if (place < 0) return;
    member.place = -1;
    const last = this.#members.pop();
    if (last === undefined || last === member) return;
    this.#members[place] = last;
    last.place = place;
  }

  /** All members at the time of the call: members may come and go while they are visited. */
  all(): readonly Member[] {
    return [...this.#members];
  }

  clear(): void {
    for (const member of this.#members.splice(0)) member.place = -1;
  }
}
