import _ from "lodash";
import { addDays, format, parseISO } from "date-fns";
import { marked } from "marked";
import { z } from "zod";
import { Failure, command, decode, encode } from "./lictor.js";

export { commands } from "./lictor.js";

const Person = z.object({ name: z.string(), age: z.number().int() });

command("group WORD...", "groups words by their first letters", { idempotent: true }, (...words: string[]) =>
  JSON.stringify(_.groupBy(words, (word) => word[0])));

command("check JSON", "tells what is wrong with a person", (json: string) => {
  const checked = Person.safeParse(JSON.parse(json));
  if (checked.success) return `${checked.data.name} is ${checked.data.age}`;
  return checked.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("\n");
});

command("days DATE COUNT", "counts days", (date: string, count: string) =>
  format(addDays(parseISO(date), Number(count)), "EEEE, d MMMM yyyy"));

command("html MARKDOWN", "renders", (text: string) => marked.parse(text, { async: false }) as string);

command("url URL RELATIVE", "reads a URL", (base: string, relative: string) => {
  const url = new URL(relative, base);
  return `${url.href} ${new URL(base).searchParams}`;
});

command("utf8 COUNT", "there and back", (count: string) => {
  const text = "aü☃".repeat(Number(count) - 65536) + "🦀a".repeat(26214) + "aa";
  const bytes = new TextEncoder().encode(text);
  if (decode(encode(text)) !== text) throw new Failure("failed", "another text came back");
  return `${bytes.length} ${new TextDecoder().decode(bytes) === text}`;
});

command("clone", "copies what goes in a circle", () => {
  const person: Record<string, unknown> = { age: new Map([["age", 36]]), born: new Date(0) };
  person.self = person;
  const copy = structuredClone(person) as typeof person;
  return `${copy !== person && copy.self === copy} ${copy.born instanceof Date} ${(copy.age as Map<string, number>).get("age")}`;
});

function deep(count: number): unknown {
  return count > 0 ? deep(count - 1) : (null as any).missing;
}

command("fail", "throws what nobody expects", () => {
  deep(3);
});
