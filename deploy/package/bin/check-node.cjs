// CommonJS and plain syntax: an old Node must be able to run this, to say that it is too old.
"use strict";

const oldest = /[\d.]+/.exec(require("../package.json").engines.node)[0];
const [major, minor] = oldest.split(".").map(Number);
const here = process.versions.node.split(".").map(Number);
if (here[0] < major || (here[0] === major && here[1] < minor)) {
  process.stderr.write(
    `Node ${process.versions.node} is too old; install ${oldest} or later (24 is recommended)\n`,
  );
  process.exit(1);
}
