// Reads the parameters and the body of a request by the schemas of its endpoint. Knows nothing of single endpoints.

import type { TObject, TSchema } from "typebox";
import { Compile } from "typebox/compile";
import { asObject, quoteValue } from "../json-value.ts";

/** A value that its schema accepts, or the field that it does not accept, with a sentence. */
export type Reading =
  | { readonly kind: "value"; readonly value: unknown }
  | { readonly kind: "invalid"; readonly field: string; readonly message: string };

/** Query parameters as they arrive: repeated ones are lists. */
export type RawQuery = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Schemas are constants, compiled when they are needed first. */
const compiled = new WeakMap<TSchema, ReturnType<typeof Compile>>();

function validatorOf(schema: TSchema): ReturnType<typeof Compile> {
  let validator = compiled.get(schema);
  if (validator === undefined) {
    validator = Compile(schema);
    compiled.set(schema, validator);
  }
  return validator;
}

/**
 * Reads query or path parameters: of a repeated one the first counts, numbers and booleans are read from their text, defaults are filled
 * in, an empty text is an absent parameter, and unknown parameters are refused.
 */
export function readParameters(schema: TObject, raw: RawQuery): Reading {
  const value: Record<string, unknown> = {};
  for (const [name, given] of Object.entries(raw)) {
    const text = firstOf(given);
    if (text === undefined || text === "") continue;
    const property = Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined;
    if (property === undefined) {
      const known = Object.keys(schema.properties).join(", ");
      return {
        kind: "invalid",
        field: name,
        message: `there is no parameter ${quoteValue(name)}; there are: ${known === "" ? "none" : known}`,
      };
    }
    value[name] = fromText(property, text);
  }
  for (const [name, property] of Object.entries(schema.properties)) {
    const initial: unknown = "default" in property ? property.default : undefined;
    if (value[name] === undefined && initial !== undefined) value[name] = initial;
  }
  return check(schema, value);
}

/** The text of a parameter; of a repeated one the first. */
export function firstOf(given: string | readonly string[] | undefined): string | undefined {
  return typeof given === "string" ? given : given?.[0];
}

function fromText(property: TSchema, text: string): unknown {
  const type = "type" in property ? property.type : undefined;
  if (type === "integer" && /^-?[0-9]{1,16}$/.test(text)) return Number(text);
  if (type === "boolean" && (text === "true" || text === "1")) return true;
  if (type === "boolean" && (text === "false" || text === "0")) return false;
  return text;
}

/** Reads a body that was JSON. An absent body stands for one without fields. */
export function readBody(schema: TObject, body: unknown): Reading {
  return check(schema, body ?? {});
}

/**
 * The same without members that are null, as Go reads them: a null leaves the field as it was.
 * @param depthLimit levels that are looked at; what is below stays
 */
export function withoutNulls(value: unknown, depthLimit = 4): unknown {
  if (depthLimit === 0) return value;
  if (Array.isArray(value)) return value.map((item) => withoutNulls(item, depthLimit - 1));
  const object = asObject(value);
  if (object === undefined) return value;
  return Object.fromEntries(
    Object.entries(object)
      .filter(([, member]) => member !== null)
      .map(([name, member]) => [name, withoutNulls(member, depthLimit - 1)]),
  );
}

function check(schema: TObject, value: unknown): Reading {
  const validator = validatorOf(schema);
  if (validator.Check(value)) return { kind: "value", value };
  // Of an unknown member there are two errors; the one that names it comes first.
  const error = validator.Errors(value)[0];
  const params = (error?.params ?? {}) as {
    readonly requiredProperties?: readonly string[];
    readonly allowedValues?: readonly unknown[];
  };
  const path = pathOf(error?.instancePath ?? "");
  if (error?.keyword === "required") {
    const field = [path, params.requiredProperties?.[0] ?? ""]
      .filter((part) => part !== "")
      .join(".");
    return { kind: "invalid", field, message: `${field} is missing` };
  }
  const given = quoteValue(valueAtPointer(value, error?.instancePath ?? ""));
  const subject = path === "" ? "the body" : path;
  if (error?.keyword === "boolean") {
    return { kind: "invalid", field: path, message: `there is no field ${subject}; leave it out` };
  }
  const expected =
    params.allowedValues === undefined
      ? (error?.message ?? "must be as documented")
      : `must be one of ${params.allowedValues.map((allowed) => quoteValue(allowed)).join(", ")}`;
  return { kind: "invalid", field: path, message: `${subject} ${expected}, and is ${given}` };
}

/** `/ips/0/ip` as a person writes it: `ips[0].ip`. */
function pathOf(pointer: string): string {
  return partsOf(pointer)
    .map((part, index) => (/^[0-9]+$/.test(part) ? `[${part}]` : index === 0 ? part : `.${part}`))
    .join("");
}

function partsOf(pointer: string): string[] {
  return pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function valueAtPointer(value: unknown, pointer: string): unknown {
  let current = value;
  for (const part of partsOf(pointer)) {
    if (typeof current !== "object" || current === null) return undefined;
    current = Object.hasOwn(current, part) ? (current as Record<string, unknown>)[part] : undefined;
  }
  return current;
}
