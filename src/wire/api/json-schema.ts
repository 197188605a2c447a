// The parts of JSON Schema that our own schemas use, for those who translate them. Not a validator.

import type { TObject, TSchema } from "typebox";

/** A schema as plain data. */
export type PlainSchema = {
  readonly title?: string;
  readonly type?: string;
  readonly format?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly enum?: readonly string[];
  readonly items?: PlainSchema;
  readonly properties?: Readonly<Record<string, PlainSchema>>;
  readonly patternProperties?: Readonly<Record<string, PlainSchema>>;
  readonly required?: readonly string[];
  readonly anyOf?: readonly PlainSchema[];
  readonly [keyword: string]: unknown;
};

/** A schema as plain data: typebox schemas are that already. */
export function plainSchema(schema: TSchema): PlainSchema {
  return schema as PlainSchema;
}

/** Name, schema and necessity of each property. */
export function propertiesOf(schema: TObject | undefined): readonly {
  readonly name: string;
  readonly schema: PlainSchema;
  readonly isRequired: boolean;
}[] {
  if (schema === undefined) return [];
  const { properties = {}, required = [] } = plainSchema(schema);
  return Object.entries(properties).map(([name, property]) => ({
    name,
    schema: property,
    isRequired: required.includes(name),
  }));
}
