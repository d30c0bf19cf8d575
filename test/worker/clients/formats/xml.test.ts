/** Untrusted XML: encodings, entities, and documents made to exhaust time or memory. */
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
      "UTF-16 LE with a byte order mark",
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
      "ISO-8859-1, in lower case and after another attribute",
      latin(
        `<?xml  version = "1.0"\n encoding = 'iso-8859-1' standalone="yes"?><a>Gr\xf6\xdfe 5 &#8364;</a>`,
      ),
    ],
  ])("a document in %s is decoded", (_, document) => {
    expect(textOf(document)).toBe("Größe 5 €");
  });

  test.each<[string, string | Buffer, RegExp]>([
    ["UTF-7", '<?xml version="1.0" encoding="UTF-7"?><a/>', /unsupported encoding "UTF-7"/],
    [
      "an invented encoding",
      '<?xml version="1.0" encoding="x-own"?><a/>',
      /unsupported encoding "x-own"/,
    ],
    ["UTF-32", Buffer.from([0, 0, 0, 0x3c, 0, 0, 0, 0x61]), /unsupported encoding "UTF-32"/],
    ["EBCDIC", Buffer.from([0x4c, 0x6f, 0xa7, 0x94, 0x93]), /unsupported encoding "EBCDIC"/],
    ["UTF-16 that is none", '<?xml version="1.0" encoding="UTF-16"?><a/>', /declares UTF-16, but/],
    ["UTF-8 that is Latin-1", latin("<a>Gr\xf6\xdfe</a>"), /x\.xml is not valid UTF-8/],
    ["half a character of UTF-16", little("<a/>").subarray(0, 7), /not valid UTF-16LE/],
  ])("a document in %s is refused, with the encoding in the reason", (_, document, reason) => {
    expect(() => parse(document)).toThrow(reason);
  });

  test("any text survives any encoding, as characters, references and CDATA", () => {
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
  test("predefined entities and character references do not count as expansions", () => {
    expect(textOf(`<a>${"&lt;li&gt;".repeat(20_000)}</a>`)).toBe("<li>".repeat(20_000));
    expect(textOf(`<a>${"&#8226;&#x41;".repeat(20_000)}</a>`)).toBe("•A".repeat(20_000));
  });

  test("entities of the DOCTYPE are expanded, also nested and as elements", () => {
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

  test("a reference to an undeclared entity is kept", () => {
    expect(textOf("<a>1&nbsp;2</a>")).toBe("1&nbsp;2");
  });

  test("a reference to a code point that is not an XML character is removed", () => {
    expect(textOf("<a>1&#0;&#xD800;&#x110000;&#8;2</a>")).toBe("12");
  });
});

describe("malicious documents", () => {
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
      "a long entity, referenced very often",
      () => `<!DOCTYPE a [<!ENTITY e "${"x".repeat(10_000)}">]><a>${many("&e;")}</a>`,
      /entity bomb/,
    ],
    [
      "a long entity in attributes",
      () => `<!DOCTYPE a [<!ENTITY e "${"x".repeat(10_000)}">]><a>${many('<b c="&e;"/>')}</a>`,
      /entity bomb/,
    ],
    [
      "unterminated comments",
      () => `<!DOCTYPE a [<!ENTITY e "x">]><a>${many("<!--x>")}</a>`,
      /<!-- without -->/,
    ],
    [
      "unterminated processing instructions in the DOCTYPE",
      () => `<!DOCTYPE a [${many("<?x>")}]><a/>`,
      /<\? without \?>/,
    ],
    [
      "a chain of entities",
      () => `<!DOCTYPE a [<!ENTITY e0 "x">${chain.join("")}]><a>&e20000;</a>`,
      /nested more than 16 deep/,
    ],
    [
      "a recursive entity",
      () => '<!DOCTYPE a [<!ENTITY e "&f;"><!ENTITY f "&e;">]><a>&e;</a>',
      /recursive entity: e/,
    ],
    [
      "an entity from a local file",
      () => '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>',
      /external entity e, which is not allowed/,
    ],
    [
      "an entity from a URL",
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
      "an unterminated DOCTYPE",
      () => `<!DOCTYPE a [${many("<!ENTITY e 'x'>")}`,
      /unterminated DOCTYPE/,
    ],
    [
      "an invalid entity declaration",
      () => `<!DOCTYPE a [<!ENTITY e ${" ".repeat(SIZE)}]><a/>`,
      /invalid entity declaration/,
    ],
    ["elements in elements", () => `<a>${many("<b>")}`, /not well-formed XML/],
    [
      "deeply nested elements",
      () => `${"<a>".repeat(100_000)}${"</a>".repeat(100_000)}`,
      /not well-formed XML/,
    ],
    ["tags that do not begin", () => `<a>${many("<")}</a>`, /not well-formed XML/],
    [
      "unterminated comments after a DOCTYPE",
      () => `<!DOCTYPE a [<!ENTITY e "x">]><a>${many("<!--")}</a>`,
      /not well-formed XML/,
    ],
    ["characters of no name", () => `<a>${many("&")}</a>`, /not well-formed XML/],
  ])(
    "a malicious document (%s) is refused with a short reason, in the time of a harmless one",
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

  /** The time for a harmless document of the same size, in this run. */
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
