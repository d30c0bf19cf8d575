/** The first line of each file that the kit makes. */
export const GENERATED = "Made by `npm run kit` from deploy/kit: change it there.";
