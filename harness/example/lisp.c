/* lisp.c - a small Lisp whose memory is never freed.
 *
 *     cc -O2 -I include -o lisp harness/example/lisp.c
 *     ./lisp program.lisp                                              grows for ever
 *     GCSHIM_MODE=collect LD_PRELOAD=libgcshim.so ./lisp program.lisp  stays small
 *     ./lisp --stress                                                  a program of its own: queens, fib, churn of lists
 *
 * There is no call of free() in it, no mark phase, no list of roots, no macro around local variables: cells are malloc'ed, and what neither the stack
 * nor a register nor a global nor another cell leads to is collected. Without the shim it is the same program with more memory.
 *
 * The language: numbers, symbols, lists, closures. (quote x) 'x (if c a b) (define n x) (define (f . args) body...) (lambda args body...)
 * (let ((n x)...) body...) (begin x...) (set! n x) (and x...) (or x...), calls in tail position take no stack.
 */
#include "gcshim.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A value is a cell's address, or a number with the lowest bit set. */
typedef struct cell *value;

enum kind { PAIR, SYMBOL, CLOSURE, BUILTIN, CONSTANT };

struct cell {
    enum kind kind;
    union {
        struct { value car, cdr; };
        struct { const char *name; value bound; }; /* a symbol and its global value */
        struct { value parameters, body, scope; };
        struct { const char *called; value (*run)(value arguments); };
    };
};

static struct cell nil_cell = {.kind = CONSTANT, .name = "()"}, true_cell = {.kind = CONSTANT, .name = "#t"};
#define NIL (&nil_cell)
#define TRUE (&true_cell)

static void fail(const char *what, const char *name) {
    fprintf(stderr, "lisp: %s%s%s\n", what, name ? ": " : "", name ? name : "");
    exit(2);
}

/* ---- memory: all there is ---- */

static void *new_bytes(size_t bytes) {
    void *block = malloc(bytes);
    if (!block)
        fail("out of memory", NULL);
    return block;
}

static value new_cell(enum kind kind) {
    value v = new_bytes(sizeof *v);
    v->kind = kind;
    return v;
}

static value cons(value car, value cdr) {
    value v = new_cell(PAIR);
    v->car = car;
    v->cdr = cdr;
    return v;
}

/* ---- values ---- */

static int is_number(value v) { return (intptr_t)v & 1; }
static value number(intptr_t n) { return (value)(n * 2 + 1); }
static int is_pair(value v) { return !is_number(v) && v->kind == PAIR; }
static int is_symbol(value v) { return !is_number(v) && v->kind == SYMBOL; }
static value truth(int condition) { return condition ? TRUE : NIL; }

static intptr_t number_of(value v) {
    if (!is_number(v))
        fail("not a number", NULL);
    return (intptr_t)v >> 1;
}

static value car(value v) {
    if (!is_pair(v))
        fail("car of what is no pair", NULL);
    return v->car;
}

static value cdr(value v) {
    if (!is_pair(v))
        fail("cdr of what is no pair", NULL);
    return v->cdr;
}

static value symbols = NIL;

static value symbol(const char *name) {
    for (value s = symbols; s != NIL; s = s->cdr)
        if (!strcmp(s->car->name, name))
            return s->car;
    char *own = new_bytes(strlen(name) + 1);
    strcpy(own, name);
    value v = new_cell(SYMBOL);
    v->name = own;
    v->bound = NULL;
    symbols = cons(v, symbols);
    return v;
}

/* ---- reading ---- */

struct reader {
    const char *at;
};

static void skip(struct reader *r) {
    for (;; r->at++) {
        if (*r->at == ';')
            r->at += strcspn(r->at, "\n");
        if (!*r->at || !isspace((unsigned char)*r->at))
            return;
    }
}

static value quote_symbol;

static value read_value(struct reader *r) {
    skip(r);
    if (!*r->at)
        fail("the text ends inside of an expression", NULL);
    if (*r->at == '\'') {
        r->at++;
        value quoted = read_value(r);
        return cons(quote_symbol, cons(quoted, NIL));
    }
    if (*r->at == '(') {
        r->at++;
        value first = NIL, last = NIL;
        for (;;) {
            skip(r);
            if (*r->at == ')') {
                r->at++;
                return first;
            }
            value next;
            if (r->at[0] == '.' && isspace((unsigned char)r->at[1]) && last != NIL) {
                r->at++;
                last->cdr = read_value(r);
                continue;
            }
            next = cons(read_value(r), NIL);
            if (first == NIL)
                first = next;
            else
                last->cdr = next;
            last = next;
        }
    }
    if (*r->at == ')')
        fail("a closing parenthesis too many", NULL);
    size_t length = strcspn(r->at, "()'; \t\r\n");
    char text[128];
    if (length >= sizeof text)
        fail("a word that is too long", NULL);
    memcpy(text, r->at, length);
    text[length] = 0;
    r->at += length;
    char *end;
    long n = strtol(text, &end, 10);
    if (!*end)
        return number(n);
    return !strcmp(text, "#t") ? TRUE : !strcmp(text, "#f") ? NIL : symbol(text);
}

static void print(value v) {
    if (is_number(v)) {
        printf("%ld", (long)number_of(v));
    } else if (!is_pair(v)) {
        printf("%s", v->kind == CLOSURE ? "#<closure>" : v->kind == BUILTIN ? v->called : v->name);
    } else {
        printf("(");
        for (;; v = v->cdr) {
            print(v->car);
            if (!is_pair(v->cdr))
                break;
            printf(" ");
        }
        if (v->cdr != NIL) {
            printf(" . ");
            print(v->cdr);
        }
        printf(")");
    }
}

/* ---- evaluation ---- */

static value eval(value v, value scope);

/* The pair (symbol . value) that a name means here, or NULL if it is global. A scope is a list of such pairs. */
static value local(value name, value scope) {
    for (; scope != NIL; scope = scope->cdr)
        if (scope->car->car == name)
            return scope->car;
    return NULL;
}

static value look_up(value name, value scope) {
    value found = local(name, scope);
    if (found)
        return found->cdr;
    if (!name->bound)
        fail("nothing is called that", name->name);
    return name->bound;
}

static value closure(value parameters, value body, value scope) {
    value v = new_cell(CLOSURE);
    v->parameters = parameters;
    v->body = body;
    v->scope = scope;
    return v;
}

static value eval_each(value list, value scope) {
    value first = NIL, last = NIL;
    for (; is_pair(list); list = list->cdr) {
        value next = cons(eval(list->car, scope), NIL);
        if (first == NIL)
            first = next;
        else
            last->cdr = next;
        last = next;
    }
    return first;
}

static value bind(value parameters, value arguments, value scope) {
    for (; is_pair(parameters); parameters = parameters->cdr, arguments = arguments->cdr) {
        if (!is_pair(arguments))
            fail("too few arguments", NULL);
        scope = cons(cons(parameters->car, arguments->car), scope);
    }
    if (parameters != NIL)
        return cons(cons(parameters, arguments), scope);
    if (arguments != NIL)
        fail("too many arguments", NULL);
    return scope;
}

static value if_symbol, define_symbol, lambda_symbol, let_symbol, begin_symbol, set_symbol, and_symbol, or_symbol;

static value define(value rest, value scope) {
    value name = car(rest);
    if (is_pair(name))
        name->car->bound = closure(name->cdr, cdr(rest), scope);
    else
        name->bound = eval(car(cdr(rest)), scope);
    return NIL;
}

static value set(value rest, value scope) {
    value name = car(rest), to = eval(car(cdr(rest)), scope), found = local(name, scope);
    return found ? (found->cdr = to) : (name->bound = to);
}

static value eval(value v, value scope) {
    for (;;) {
        if (is_symbol(v))
            return look_up(v, scope);
        if (!is_pair(v))
            return v;
        value head = v->car, rest = v->cdr, body;
        if (head == quote_symbol) {
            return car(rest);
        } else if (head == if_symbol) {
            value branches = cdr(rest);
            if (eval(car(rest), scope) != NIL)
                v = car(branches);
            else if (cdr(branches) != NIL)
                v = car(cdr(branches));
            else
                return NIL;
            continue;
        } else if (head == lambda_symbol) {
            return closure(car(rest), cdr(rest), scope);
        } else if (head == define_symbol) {
            return define(rest, scope);
        } else if (head == set_symbol) {
            return set(rest, scope);
        } else if (head == and_symbol || head == or_symbol) {
            if (rest == NIL)
                return truth(head == and_symbol);
            for (; cdr(rest) != NIL; rest = rest->cdr) {
                value one = eval(rest->car, scope);
                if ((one == NIL) == (head == and_symbol))
                    return one;
            }
            v = rest->car;
            continue;
        } else if (head == begin_symbol) {
            body = rest;
        } else if (head == let_symbol) {
            value inner = scope;
            for (value b = car(rest); is_pair(b); b = b->cdr) {
                value bound = eval(car(cdr(b->car)), scope);
                inner = cons(cons(b->car->car, bound), inner);
            }
            scope = inner;
            body = cdr(rest);
        } else {
            value function = eval(head, scope), arguments = eval_each(rest, scope);
            if (!is_number(function) && function->kind == BUILTIN)
                return function->run(arguments);
            if (is_number(function) || function->kind != CLOSURE)
                fail("a call of what is no function", NULL);
            scope = bind(function->parameters, arguments, function->scope);
            body = function->body;
        }
        if (body == NIL)
            return NIL;
        for (; cdr(body) != NIL; body = body->cdr)
            eval(body->car, scope);
        v = body->car;
    }
}

/* ---- what is built in ---- */

static value first_of(value a) { return car(a); }
static value second_of(value a) { return car(cdr(a)); }

#define NUMERIC(name, expression)                                                                                                \
    static value name(value a) {                                                                                                 \
        intptr_t x = number_of(first_of(a)), y = number_of(second_of(a));                                                        \
        return expression;                                                                                                       \
    }
NUMERIC(add, number(x + y))
NUMERIC(subtract, number(x - y))
NUMERIC(multiply, number(x * y))
NUMERIC(divide, y ? number(x / y) : NIL)
NUMERIC(remainder_of, y ? number(x % y) : NIL)
NUMERIC(less, truth(x < y))
NUMERIC(equal, truth(x == y))

static value built_in_car(value a) { return car(first_of(a)); }
static value built_in_cdr(value a) { return cdr(first_of(a)); }
static value built_in_cons(value a) { return cons(first_of(a), second_of(a)); }
static value list(value a) { return a; }
static value is_null(value a) { return truth(first_of(a) == NIL); }
static value is_a_pair(value a) { return truth(is_pair(first_of(a))); }
static value not(value a) { return truth(first_of(a) == NIL); }
static value same(value a) { return truth(first_of(a) == second_of(a)); }

static value print_line(value a) {
    for (; is_pair(a); a = a->cdr) {
        print(a->car);
        putchar(a->cdr == NIL ? '\n' : ' ');
    }
    return NIL;
}

/* (collect): a collection now, if there is somebody who collects. */
static value collect(value a) {
    (void)a;
    return number(GCSHIM_COLLECT());
}

/* (peak): the most memory that was resident, in KiB. */
static value peak(value a) {
    (void)a;
    long kib = 0;
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %ld", &kib) == 1)
            break;
    if (status)
        fclose(status); /* what the C library frees there is its own */
    return number(kib);
}

static const struct { const char *name; value (*run)(value); } BUILT_IN[] = {
    {"+", add}, {"-", subtract}, {"*", multiply}, {"/", divide}, {"remainder", remainder_of}, {"<", less}, {"=", equal}, {"car", built_in_car},
    {"cdr", built_in_cdr}, {"cons", built_in_cons}, {"list", list}, {"null?", is_null}, {"pair?", is_a_pair}, {"not", not}, {"eq?", same},
    {"print", print_line}, {"collect", collect}, {"peak", peak},
};

static void set_up(void) {
    quote_symbol = symbol("quote"), if_symbol = symbol("if"), define_symbol = symbol("define"), lambda_symbol = symbol("lambda");
    let_symbol = symbol("let"), begin_symbol = symbol("begin"), set_symbol = symbol("set!"), and_symbol = symbol("and"), or_symbol = symbol("or");
    for (size_t i = 0; i < sizeof BUILT_IN / sizeof *BUILT_IN; i++) {
        value v = new_cell(BUILTIN);
        v->called = BUILT_IN[i].name;
        v->run = BUILT_IN[i].run;
        symbol(v->called)->bound = v;
    }
}

static void run(const char *text) {
    struct reader r = {text};
    for (skip(&r); *r.at; skip(&r))
        eval(read_value(&r), NIL);
}

/* More than a gigabyte of cells in all; what lives at any time is a few hundred kilobytes beside a list of 200,000 numbers. */
static const char STRESS[] =
    "(define (iota from to) (if (< from to) (cons from (iota (+ from 1) to)) '()))"
    "(define (sum l total) (if (null? l) total (sum (cdr l) (+ total (car l)))))"
    "(define (map f l) (if (null? l) '() (cons (f (car l)) (map f (cdr l)))))"
    "(define (reverse l to) (if (null? l) to (reverse (cdr l) (cons (car l) to))))"
    "(define (length l n) (if (null? l) n (length (cdr l) (+ n 1))))"
    "(define (times n f) (if (< 0 n) (begin (f n) (times (- n 1) f)) '()))"
    "(define (count from to l) (if (< from to) (count from (- to 1) (cons to l)) l))"
    "(define kept (count 0 200000 '()))"
    "(define (fib n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))"
    "(define (safe? q d others) (or (null? others)"
    "  (and (not (= q (car others))) (not (= q (+ (car others) d))) (not (= q (- (car others) d))) (safe? q (+ d 1) (cdr others)))))"
    "(define (place row n others) (if (= row n) 1 (try row 0 n others 0)))"
    "(define (try row q n others found) (if (= q n) found"
    "  (try row (+ q 1) n others (+ found (if (safe? q 1 others) (place (+ row 1) n (cons q others)) 0)))))"
    "(define counter (let ((n 0)) (lambda () (set! n (+ n 1)) n)))"
    "(print 'fib (fib 21))"
    "(print 'queens (place 0 7 '()))"
    "(times 800 (lambda (n) (begin (counter) (sum (reverse (map (lambda (x) (* x 2)) (iota 0 500)) '()) 0))))"
    "(print 'churn (counter) (sum (map (lambda (x) (+ x 1)) (iota 0 1000)) 0))"
    "(print 'kept (length kept 0) (sum kept 0))"
    "(collect)"
    "(print 'after (length kept 0) (sum kept 0))"
    "(print 'peak (peak))";

static char *contents(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        fail("no such file", path);
    long bytes = ftell(file);
    char *text = new_bytes((size_t)bytes + 1);
    rewind(file);
    text[fread(text, 1, (size_t)bytes, file)] = 0;
    fclose(file);
    return text;
}

int main(int argc, char **argv) {
    if (argc != 2)
        fail("usage: lisp FILE | --stress", NULL);
    set_up();
    run(strcmp(argv[1], "--stress") ? contents(argv[1]) : STRESS);
    return 0;
}
