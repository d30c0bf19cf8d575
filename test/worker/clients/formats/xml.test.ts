/** XML of strangers: encodings, entities, and documents that are made to take for ever. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseXml } from "../../../../worker/clients/formats/xml.ts";

const parse = (document: string | Buffer) =>
  parseXml("x.xml", Buffer.from(document as string), "a");
const textOf = (document: string | Buffer): string => parse(document).text;

const utf8 = (text: string): Buffer => Buffer.from(text);
const latin = (text: string): Buffer => Buffer.from(text, "latin1");
const little = (text: string): Buffer => Buffer.from(text, "utf16le");
const big = (text: string): Buffer => Buffer.from(text, "utf16le").swap16();

describe("encodings", () => {
  test.each<[string, Buffer]>([
    ["UTF-8 without a declaration", Buffer.from("<a>Größe 5 €</a>")],
    ["UTF-8 with a byte order mark", Buffer.from("\ufeff<a>Größe 5 €</a>")],
    [
      "UTF-8 with a byte order mark that contradicts the declaration",
      Buffer.from('\ufeff<?xml version="1.0" encoding="ISO-8859-1"?><a>Größe 5 €</a>'),
    ],
    [
      "UTF-16 LE with a mark",
      little('\ufeff<?xml version="1.0" encoding="UTF-16"?><a>Größe 5 €</a>'),
    ],
    ["UTF-16 BE with a mark", big('\ufeff<?xml version="1.0" encoding="UTF-16"?><a>Größe 5 €</a>')],
    ["UTF-16 LE without one", little('<?xml version="1.0" encoding="UTF-16LE"?><a>Größe 5 €</a>')],
    ["UTF-16 BE without one", big("<a>Größe 5 €</a>")],
    [
      "windows-1252",
      latin("<?xml version='1.0' encoding='windows-1252'?>\n<a>Gr\xf6\xdfe 5 \x80</a>"),
    ],
    [
      "ISO-8859-15",
      latin('<?xml version="1.0" encoding="ISO-8859-15" ?><a>Gr\xf6\xdfe 5 \xa4</a>'),
    ],
    [
      "ISO-8859-1, in small letters and behind another attribute",
      latin(
        `<?xml  version = "1.0"\n encoding = 'iso-8859-1' standalone="yes"?><a>Gr\xf6\xdfe 5 &#8364;</a>`,
      ),
    ],
  ])("a document in %s is read as it declares", (_, document) => {
    expect(textOf(document)).toBe("Größe 5 €");
  });

  test.each<[string, string | Buffer, RegExp]>([
    ["UTF-7", '<?xml version="1.0" encoding="UTF-7"?><a/>', /unsupported encoding "UTF-7"/],
    [
      "an invented one",
      '<?xml version="1.0" encoding="x-own"?><a/>',
      /unsupported encoding "x-own"/,
    ],
    ["UTF-32", Buffer.from([0, 0, 0, 0x3c, 0, 0, 0, 0x61]), /unsupported encoding "UTF-32"/],
    ["EBCDIC", Buffer.from([0x4c, 0x6f, 0xa7, 0x94, 0x93]), /unsupported encoding "EBCDIC"/],
    ["UTF-16 that is none", '<?xml version="1.0" encoding="UTF-16"?><a/>', /declares UTF-16, but/],
    ["UTF-8 that is Latin-1", latin("<a>Gr\xf6\xdfe</a>"), /x\.xml is not valid UTF-8/],
    ["half a character of UTF-16", little("<a/>").subarray(0, 7), /not valid UTF-16LE/],
  ])("a document in %s is refused by the name of its encoding", (_, document, reason) => {
    expect(() => parse(document)).toThrow(reason);
  });

  test("any text comes back whole from any encoding, as characters, references and CDATA", () => {
    const char = fc.constantFrom(...Array.from("aZ09 &<>\"'ü€中😀]"));
    fc.assert(
      fc.property(
        fc.array(char).map((chars) => `|${chars.join("")}|`),
        (text) => {
          const escaped = text
            .replaceAll("&", "&amp;")
            .replaceAll("<", "&lt;")
            .replaceAll(">", "&gt;");
          const numbers = Array.from(text)
            .map((one) => `&#x${one.codePointAt(0)?.toString(16)};`)
            .join("");
          const cdata = `<![CDATA[${text}]]>`;
          for (const form of [escaped, numbers, ...(text.includes("]]") ? [] : [cdata])]) {
            for (const encode of [utf8, little, big]) {
              expect(textOf(encode(`<a>${form}</a>`))).toBe(text);
            }
          }
        },
      ),
    );
  });
});

describe("entities", () => {
  test("predefined ones and characters by number are no expansions, however many there are", () => {
    expect(textOf(`<a>${"&lt;li&gt;".repeat(20_000)}</a>`)).toBe("<li>".repeat(20_000));
    expect(textOf(`<a>${"&#8226;&#x41;".repeat(20_000)}</a>`)).toBe("•A".repeat(20_000));
  });

  test("those of the DOCTYPE are put in place, also within each other and as elements", () => {
    const doctype = `<!-- a > b --><!DOCTYPE a SYSTEM "a.dtd" [
      <!ELEMENT a (b)> <!-- ]> --> <?x ]> ?>
      <!ENTITY v '1.0'><!ENTITY v '2.0'><!ENTITY sign "&#169;">
      <!ENTITY product "Acme&sign; &v; &amp; co"><!ENTITY part "<b>&v;</b>"><!ENTITY said '"&lt;'>]>`;
    const document = `${doctype}<a x="&product; &said;">&product;<!-- &v; --><![CDATA[ &v;]]>&part;</a>`;
    const root = parse(document);
    expect(root.text).toBe("Acme© 1.0 & co &v;");
    expect(root.attribute("x")).toBe('Acme© 1.0 & co "<');
    expect(root.child("b")?.text).toBe("1.0");
  });

  test("a reference that stands for nothing stays as it is written", () => {
    expect(textOf("<a>1&nbsp;2</a>")).toBe("1&nbsp;2");
  });

  test("a number that is no character of XML is left out", () => {
    expect(textOf("<a>1&#0;&#xD800;&#x110000;&#8;2</a>")).toBe("12");
  });
});

describe("documents that are made to do harm", () => {
  const SIZE = 1_000_000;
  const grown = Array.from(
    { length: 30 },
    (_, i) => `<!ENTITY e${i + 1} "${`&e${i};`.repeat(10)}">`,
  );
  const chain = Array.from({ length: 20_000 }, (_, i) => `<!ENTITY e${i + 1} "&e${i};">`);
  const many = (text: string): string => text.repeat(Math.ceil(SIZE / text.length));

  test.each<[string, () => string, RegExp]>([
    [
      "a billion laughs",
      () => `<!DOCTYPE a [<!ENTITY e0 "ha">${grown.join("")}]><a>&e12;</a>`,
      /entity bomb/,
    ],
    [
      "a long entity very often",
      () => `<!DOCTYPE a [<!ENTITY e "${"x".repeat(10_000)}">]><a>${many("&e;")}</a>`,
      /entity bomb/,
    ],
    [
      "a long entity in attributes",
      () => `<!DOCTYPE a [<!ENTITY e "${"x".repeat(10_000)}">]><a>${many('<b c="&e;"/>')}</a>`,
      /entity bomb/,
    ],
    [
      "comments without an end",
      () => `<!DOCTYPE a [<!ENTITY e "x">]><a>${many("<!--x>")}</a>`,
      /<!-- without -->/,
    ],
    [
      "processing instructions without an end in the DOCTYPE",
      () => `<!DOCTYPE a [${many("<?x>")}]><a/>`,
      /<\? without \?>/,
    ],
    [
      "a chain of entities",
      () => `<!DOCTYPE a [<!ENTITY e0 "x">${chain.join("")}]><a>&e20000;</a>`,
      /nested more than 16 deep/,
    ],
    [
      "an entity of itself",
      () => '<!DOCTYPE a [<!ENTITY e "&f;"><!ENTITY f "&e;">]><a>&e;</a>',
      /recursive entity: e/,
    ],
    [
      "a file of this machine",
      () => '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>',
      /external entity e, which is not allowed/,
    ],
    [
      "a public file",
      () => '<!DOCTYPE a [<!ENTITY e PUBLIC "p" "http://127.0.0.1:1/">]><a>&e;</a>',
      /external entity e/,
    ],
    [
      "a parameter entity",
      () => '<!DOCTYPE a [<!ENTITY % e SYSTEM "http://127.0.0.1:1/">%e;]><a/>',
      /parameter entity/,
    ],
    ["a reference to a parameter entity", () => "<!DOCTYPE a [%e;]><a/>", /parameter entity/],
    [
      "a DOCTYPE without an end",
      () => `<!DOCTYPE a [${many("<!ENTITY e 'x'>")}`,
      /unterminated DOCTYPE/,
    ],
    [
      "a wrong declaration",
      () => `<!DOCTYPE a [<!ENTITY e ${" ".repeat(SIZE)}]><a/>`,
      /invalid entity declaration/,
    ],
    ["elements in elements", () => `<a>${many("<b>")}`, /not well-formed XML/],
    [
      "elements in elements that end",
      () => `${"<a>".repeat(100_000)}${"</a>".repeat(100_000)}`,
      /not well-formed XML/,
    ],
    ["tags that do not begin", () => `<a>${many("<")}</a>`, /not well-formed XML/],
    [
      "comments that do not end",
      () => `<!DOCTYPE a [<!ENTITY e "x">]><a>${many("<!--")}</a>`,
      /not well-formed XML/,
    ],
    ["characters of no name", () => `<a>${many("&")}</a>`, /not well-formed XML/],
  ])(
    "%s ends with a clear and short reason, in the time of a harmless document",
    (_, make, reason) => {
      const document = make();
      let thrown: unknown;
      const ms = fastest(() => {
        try {
          parse(document);
        } catch (error) {
          thrown = error;
        }
      });
      expect(String(thrown)).toMatch(reason);
      expect(String(thrown).length).toBeLessThan(400);
      expect(ms).toBeLessThan(harmlessMs() * 3);
    },
  );

  let measuredMs: number | undefined;

  /** What a harmless document of the same size takes, in this run. */
  function harmlessMs(): number {
    const escapeForTerminal = `<a>${many('<b c="d">text &lt; </b>')}</a>`;
    measuredMs ??= fastest(() => textOf(escapeForTerminal));
    return measuredMs;
  }

  function fastest(action: () => void): number {
    const times = [1, 2, 3].map(() => {
      const startMs = performance.now();
      action();
      return performance.now() - startMs;
    });
    return Math.min(...times);
  }
});
