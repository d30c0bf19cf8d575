/**
 * Runs the tests with or without links: `TEST_LINK=off` turns them off in all processes that tests start, `TEST_LINK=on` also
 * puts links into the tests of the data path, whose workers are raw sockets.
 */
const mode = process.env["TEST_LINK"];

/** For the environment of a process. */
export const LINK_ENV: Readonly<Record<string, string>> = mode === "off" ? { CT_LINK: "off" } : {};

/** Whether those processes have links, unless their test turns them off. */
export const HAS_LINKS = mode !== "off";

/** Whether a data path in the test's process has links by default. */
export const IS_LINKED = mode === "on";
