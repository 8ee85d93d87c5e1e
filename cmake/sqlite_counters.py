#!/usr/bin/env python3
"""Writes SQLite's amalgamation with the row counters of ADR 0103: sqlite_counters.py IN OUT.

Twelve lines in the executor count the rows that a statement reads and writes, where D1 counts them; a statement keeps both
numbers beside SQLite's own counters, and sqlite3_stmt_status gives them as 1025 and 1026 (sql/sqlite.h). Beside them: the
authorizer is told the new name of a table that is renamed, a function tells how large the database is, and SQL functions that
could run for hours can be interrupted.

Every edit names the place it is for, the line it goes to, and how often that line must be there: once. Where SQLite has
changed so that this does not hold, nothing is written and the status is 1: read the new code, then the edit."""
import re
import sys

FIELD = "aRowsBnd"
READ, WRITTEN = f"p->{FIELD}[0]", f"p->{FIELD}[1]"
STORED = "if( !pC->isEphemeral ) "  # temporary b-trees are not what is written

# (opcode label that begins the place, line in it, where the new line goes, new line). A place ends at the next
# "/* Opcode:".
COUNTERS = [
    ("case OP_Count: ", "rc = sqlite3BtreeCount(db, pCrsr, &nEntry);", "after", f"{READ} += (u32)nEntry;"),
    ("case OP_SeekGT: ", "if( oc>=OP_SeekGE ){  assert( oc==OP_SeekGE || oc==OP_SeekGT );", "before", f"{READ}++;"),
    ("case OP_SeekRowid: ", "pC->seekResult = res;", "after", f"{READ}++;"),
    ("case OP_Last: ", "if( pOp->p2>0 ){", "before", f"{READ}++;"),
    ("case OP_Rewind: ", "if( pOp->p2>0 ){", "before", f"{READ}++;"),
    ("case OP_SorterNext: ", "p->aCounter[pOp->p5]++;", "after", f"{READ}++;"),  # and OP_Prev, OP_Next: their common end
    ("case OP_VNext: ", "res = pModule->xEof(pCur->uc.pVCur);", "before", f"{READ}++;"),
    ("case OP_Insert: ", "if( pOp->p5 & OPFLAG_NCHANGE ){", "before", f"{STORED}{WRITTEN}++;"),
    ("case OP_IdxInsert: ", "if( pOp->p5 & OPFLAG_NCHANGE ) p->nChange++;", "before", f"{STORED}{WRITTEN}++;"),
    ("case OP_Delete: ", "if( opflags & OPFLAG_NCHANGE ){", "after", f"{STORED}{WRITTEN}++;"),
    ("case OP_Clear: ", "p->nChange += nChange;", "after", f"{WRITTEN} += (u32)nChange;"),
    ("case OP_VUpdate: ", "p->nChange++;", "after", f"{WRITTEN}++;"),
]

# (text that begins the place, text that ends it, lines in it, lines in their stead)
REPLACED = [
    ("\nstruct Vdbe {", "\n};",
     "  u32 aCounter[9];        /* Counters used by sqlite3_stmt_status() */\n",
     "  u32 aCounter[9];        /* Counters used by sqlite3_stmt_status() */\n"
     f"  u32 {FIELD}[2];         /* Rows read, rows written */\n"),
    ("\nSQLITE_API int sqlite3_stmt_status(sqlite3_stmt *pStmt, int op, int resetFlag){", "\n}",
     "  }else{\n    v = pVdbe->aCounter[op];\n",
     "  }else if( op==1025 || op==1026 ){\n"
     f"    v = pVdbe->{FIELD}[op-1025];\n"
     f"    if( resetFlag ) pVdbe->{FIELD}[op-1025] = 0;\n"
     "  }else{\n    v = pVdbe->aCounter[op];\n"),
    ("\nSQLITE_PRIVATE void sqlite3AlterRenameTable(\n", "\n}",
     "  if( sqlite3AuthCheck(pParse, SQLITE_ALTER_TABLE, zDb, pTab->zName, 0) ){\n",
     "  if( sqlite3AuthCheck(pParse, SQLITE_ALTER_TABLE, zDb, pTab->zName, zName) ){\n"),
]

# Functions whose work is the product of two lengths, hours for two strings of 2 MB, ask on the way whether the statement is
# over, as the executor does between its steps: (function, lines in it, lines in their stead).
IS_OVER = """
static int bndIsOver(sqlite3_context *context, i64 *pnWork, i64 nMore){
  sqlite3 *db = sqlite3_context_db_handle(context);
  *pnWork += nMore;
  if( *pnWork<1000000 ) return 0;
  *pnWork = 0;
  if( db->xProgress==0 || db->xProgress(db->pProgressArg)==0 ) return 0;
  sqlite3_result_error_code(context, SQLITE_INTERRUPT);
  return 1;
}
"""
LONG = [
    ("instrFunc", "  int N = 1;\n", "  int N = 1;\n  i64 nWork = 0;\n"),
    ("instrFunc", "      N++;\n", "      N++;\n      if( bndIsOver(context, &nWork, nNeedle) ) goto endInstr;\n"),
    ("unhexFunc", "  u8 *p = 0;\n", "  u8 *p = 0;\n  i64 nWork = 0;\n"),
    ("unhexFunc", "        c = *zHex;\n", "        c = *zHex;\n        if( bndIsOver(pCtx, &nWork, nPass) ) goto unhex_null;\n"),
    ("replaceFunc", "  unsigned cntExpand;      /* Number zOut expansions */\n",
     "  unsigned cntExpand;      /* Number zOut expansions */\n  i64 nWork = 0;\n"),
    ("replaceFunc", "  for(i=j=0; i<=loopLimit; i++){\n",
     "  for(i=j=0; i<=loopLimit; i++){\n"
     "    if( bndIsOver(context, &nWork, nPattern) ){ sqlite3_free(zOut); return; }\n"),
    ("trimFunc", "  unsigned char **azChar = 0;       /* Individual characters in zCharSet */\n",
     "  unsigned char **azChar = 0;       /* Individual characters in zCharSet */\n  i64 nWork = 0;\n"),
] + [
    ("trimFunc", f"    if( flags & {side} ){{\n      while( nIn>0 ){{\n",
     f"    if( flags & {side} ){{\n      while( nIn>0 ){{\n"
     "        if( bndIsOver(context, &nWork, nChar) ){ if( zCharSet ) sqlite3_free(azChar); return; }\n")
    for side in (1, 2)
]

# sql/sqlite.h declares it.
APPENDED = """
int sqlite3_bnd_pages(sqlite3 *db, unsigned *pnPage, unsigned *pnFree){
  Btree *p = db->aDb[0].pBt;
  u32 nFree = 0;
  int rc = SQLITE_OK;
  assert( db->autoCommit==0 );
  if( sqlite3BtreeTxnState(p)==SQLITE_TXN_NONE ){
    rc = sqlite3BtreeBeginTrans(p, 0, 0);
    if( rc!=SQLITE_OK ){
      sqlite3Error(db, rc);
      return rc & 0xff;
    }
  }
  sqlite3BtreeGetMeta(p, BTREE_FREE_PAGE_COUNT, &nFree);
  *pnPage = sqlite3BtreeLastPage(p);
  *pnFree = nFree;
  return SQLITE_OK;
}
"""


class Moved(Exception):
    pass


def between(text, start, end, begin=0, stop=None):
    """(from, to) of the only place in text[begin:stop] that begins with start, up to the end that follows it."""
    stop = len(text) if stop is None else stop
    first = text.find(start, begin, stop)
    if first < 0 or text.find(start, first + 1, stop) >= 0:
        raise Moved(f"{start.strip()!r} is not there once")
    last = text.find(end, first + len(start), stop)
    if last < 0:
        raise Moved(f"{start.strip()!r} has no end")
    return first, last


def replaced(text, place, old, new):
    first, last = place
    if text.count(old, first, last) != 1:
        raise Moved(f"{old.strip()!r} is {text.count(old, first, last)} times in {text[first:first + 60].strip()!r}")
    at = text.index(old, first, last)
    return text[:at] + new + text[at + len(old):]


def counted(text, label, line, where, new):
    executor = between(text, "\nSQLITE_PRIVATE int sqlite3VdbeExec(\n", "\n/************** End of vdbe.c")
    place = between(text, "\n" + label, "\n/* Opcode: ", *executor)
    found = re.findall(rf"\n( *){re.escape(line)}[^\n]*", text[place[0]:place[1]])
    if len(found) != 1:
        raise Moved(f"{line!r} is {len(found)} times in {label!r}")
    old = re.search(rf"\n {{{len(found[0])}}}{re.escape(line)}[^\n]*", text[place[0]:place[1]]).group()
    added = f"\n{found[0]}{new}"
    return replaced(text, place, old, old + added if where == "after" else added + old)


def main():
    with open(sys.argv[1], encoding="utf-8", newline="") as file:
        text = file.read()
    try:
        for counter in COUNTERS:
            text = counted(text, *counter)
        for start, end, old, new in REPLACED:
            text = replaced(text, between(text, start, end), old, new)
        for function, old, new in LONG:
            text = replaced(text, between(text, f"\nstatic void {function}(\n", "\n}\n"), old, new)
        first = between(text, "\nstatic void instrFunc(\n", "\n}\n")[0]
        text = text[:first] + IS_OVER + text[first:]
    except Moved as moved:
        print(f"sqlite_counters.py: {sys.argv[1]} is not the SQLite these edits were written for: {moved}", file=sys.stderr)
        return 1
    with open(sys.argv[2], "w", encoding="utf-8", newline="") as file:
        file.write(text + APPENDED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
