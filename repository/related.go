// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import "context"

// Related returns the rows that others refer to: of says to which one. They are read by GetMany, in
// one call for at most MaxRows of them. Those that do not exist are left out.
//
//	authors, err := repository.Related(ctx, articles, users,
//		func(a *Article) int64 { return a.AuthorID })
func Related[T, R any, ID comparable](
	ctx context.Context, rows []T, from Repository[R, ID], of func(*T) ID,
) (map[ID]R, error) {
	found := map[ID]R{}
	var ids []ID
	asked := map[ID]bool{}
	for i := range rows {
		if id := of(&rows[i]); !asked[id] {
			asked[id] = true
			ids = append(ids, id)
		}
	}
	for len(ids) > 0 {
		batch := ids[:min(len(ids), MaxRows)]
		ids = ids[len(batch):]
		some, err := from.GetMany(ctx, batch)
		if err != nil {
			return nil, err
		}
		for id, row := range some {
			found[id] = row
		}
	}
	return found, nil
}
