import type { Fault } from "./faults.ts";

/** The text of the fault's file with the fault. Throws when its code is not there exactly once. */
export function plant(fault: Fault, text: string): string {
  const times = text.split(fault.code).length - 1;
  if (times === 1) return text.replace(fault.code, () => fault.instead);
  throw new Error(
    `"${fault.name}": its code is ${times} times in ${fault.file}, not once; change test/mutations/faults.ts with the source`,
  );
}
