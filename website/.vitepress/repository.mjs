// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Where files are that are no pages of the site.
export const REPOSITORY = 'https://github.com/cachewright/cachewright/blob/main/';
