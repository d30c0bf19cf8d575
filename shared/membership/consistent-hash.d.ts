/** The part of the `consistent-hash` package (1.2.2) that is used; the package brings no types. */
declare module "consistent-hash" {
  export default class ConsistentHash {
    constructor(options: { range: number });
    /** Adds a node at exactly these control points, 0 to range - 1. */
    add(node: string, weight: number, points: number[]): this;
    /** The first node at or after the hash of `name`; null when empty. */
    get(name: string): string | null;
    /** The first `count` distinct nodes at or after the hash of `name`; null when empty. */
    get(name: string, count: number): string[] | null;
  }
}
