// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"fmt"
	"math"
	"reflect"
)

// lossOf says what of a value does not come back from its codec, or "". It names types and fields
// only. Readers decode the value into a type, nil if that is not known.
func lossOf(codec Codec, value any, payload []byte, as reflect.Type) string {
	own := reflect.TypeOf(value)
	if as != nil && as != own {
		if _, err := DecodeAs(codec, payload, as); err != nil {
			return fmt.Sprintf("it cannot be decoded into a %v", as)
		}
	}
	decoded, err := DecodeAs(codec, payload, own)
	switch {
	case err == nil:
		c := comparison{left: maxCompared}
		return c.report(c.loss(reflect.ValueOf(value), reflect.ValueOf(decoded)))
	case as == own:
		return "it cannot be decoded"
	default:
		return "" // readers use another type
	}
}

// maxCompared bounds how many values within a value are compared, and so the time.
const maxCompared = 10_000

// comparison looks for what a decoded value lacks. It passes over what applications live with: an
// empty slice comes back as nil, an int in an interface as a float64. It also trusts types that
// encode and decode themselves.
type comparison struct {
	left  int
	field string // in which something was lost, the innermost
}

// What may happen to a value.
const (
	isLost    = "is lost"
	isChanged = "is changed"
	isHidden  = "is not exported and is lost"
)

// report says what happened to which field.
func (c *comparison) report(loss string) string {
	switch {
	case loss == "":
		return ""
	case c.field == "":
		return "it " + loss
	default:
		return c.field + " " + loss
	}
}

// loss returns what happened to a value, or "".
func (c *comparison) loss(original, decoded reflect.Value) string {
	c.left--
	switch {
	case c.left < 0 || isEmpty(original):
		return ""
	case !decoded.IsValid():
		return isLost
	case original.Type() != decoded.Type() || codesItself(original.Type()):
		return ""
	}
	switch original.Kind() {
	case reflect.Pointer, reflect.Interface:
		return c.loss(original.Elem(), decoded.Elem())
	case reflect.Struct:
		return c.lossInStruct(original, decoded)
	case reflect.Slice, reflect.Array:
		return c.lossInSlice(original, decoded)
	case reflect.Map:
		return c.lossInMap(original, decoded)
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return isLost
	default:
		return lossOfPlain(original, decoded)
	}
}

func lossOfPlain(original, decoded reflect.Value) string {
	isNaN := original.CanFloat() && math.IsNaN(original.Float())
	switch {
	case isNaN || original.Equal(decoded):
		return ""
	case isEmpty(decoded):
		return isLost
	default:
		return isChanged
	}
}

func (c *comparison) lossInStruct(original, decoded reflect.Value) string {
	for i := range original.NumField() {
		loss := c.lossInField(original.Type().Field(i), original.Field(i), decoded.Field(i))
		if loss == "" {
			continue
		}
		if c.field == "" {
			c.field = fmt.Sprintf("%v.%s", original.Type(), original.Type().Field(i).Name)
		}
		return loss
	}
	return ""
}

func (c *comparison) lossInField(
	field reflect.StructField, original, decoded reflect.Value,
) string {
	switch {
	case isLeftOut(field):
		return ""
	case field.IsExported() || isEmbeddedStruct(field):
		return c.loss(original, decoded)
	case !isEmpty(original) && isEmpty(decoded) && !codesItself(field.Type):
		return isHidden
	default:
		return ""
	}
}

func (c *comparison) lossInSlice(original, decoded reflect.Value) string {
	if original.Len() != decoded.Len() {
		return isChanged
	}
	for i := 0; i < original.Len() && c.left > 0; i++ {
		if loss := c.loss(original.Index(i), decoded.Index(i)); loss != "" {
			return loss
		}
	}
	return ""
}

// lossInMap compares values of the same keys. Keys of some types come back as others.
func (c *comparison) lossInMap(original, decoded reflect.Value) string {
	if original.Len() != decoded.Len() {
		return isChanged
	}
	for elements := original.MapRange(); c.left > 0 && elements.Next(); {
		value := decoded.MapIndex(elements.Key())
		if !value.IsValid() {
			continue
		}
		if loss := c.loss(elements.Value(), value); loss != "" {
			return loss
		}
	}
	return ""
}
