package contract

import (
	"encoding/json"
	"reflect"
	"strings"
)

// Schema is the JSON schema of a contract, for editors: made from the types that read it, so that it cannot say anything else.
func Schema() ([]byte, error) {
	top := schemaOf(reflect.TypeFor[Contract]())
	top["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	top["$id"] = "lastgood.contract/v1"
	top["title"] = "What hosts of one class must have"
	b, err := json.MarshalIndent(top, "", "  ")
	return append(b, '\n'), err
}

func schemaOf(t reflect.Type) map[string]any {
	switch {
	case t.Kind() == reflect.Pointer:
		return schemaOf(t.Elem())
	case t == reflect.TypeFor[Duration]():
		return map[string]any{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`}
	}
	switch t.Kind() {
	case reflect.Struct:
		return structSchema(t)
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem()), "minItems": 1}
	case reflect.Int:
		return map[string]any{"type": "integer"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	}
	return map[string]any{"type": "string"}
}

func structSchema(t reflect.Type) map[string]any {
	properties := map[string]any{}
	var required []string
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("yaml")
		if !f.IsExported() || name == "" {
			continue
		}
		s := schemaOf(f.Type)
		s["description"] = f.Tag.Get("doc")
		if enum := f.Tag.Get("enum"); enum != "" {
			if items, ok := s["items"].(map[string]any); ok {
				items["enum"] = strings.Split(enum, ",")
			} else {
				s["enum"] = strings.Split(enum, ",")
			}
		}
		properties[name] = s
		if f.Tag.Get("required") != "" {
			required = append(required, name)
		}
	}
	out := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}
