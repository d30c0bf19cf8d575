/**
 * Chance that can be repeated (mulberry32, Tommy Ettinger, 2017): the same seed draws the same numbers, from 0 to below 1, on every
 * machine and version of Node. 32 bits of state are enough to tell seeds apart.
 */
export function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}
