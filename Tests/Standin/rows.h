/* SPDX-License-Identifier: GPL-2.0-only */
/* rows.h - what the stand-in can play: the rows of the table in the facts, one by one. */
#ifndef STANDIN_ROWS_H
#define STANDIN_ROWS_H

/* NULL after the last one. */
const char *row_name(unsigned int number);

/*
 * what: a row's name, or a part of it after one of the words `listen` (the server's socket is made and
 * listens), `socket` (so is the client's), `connect` (the rest). Returns 0, or an errno.
 */
int row_play(const char *what, const char *name);

#endif
