// A reference to an element of a vector that has grown.
//
// The class of CERT's rule CTR51-CPP. The one that everybody has made: `const T &x = v.front(); v.push_back(...)`, and x is in the old array.
#include "uaf.h"

#include <vector>

struct Account {
    unsigned long number, balance;
    char owner[16];
};

int main() {
    std::vector<Account> accounts;
    accounts.reserve(8);
    for (unsigned long i = 0; i < 8; i++)
        accounts.push_back({1000 + i, 100 * i, "somebody"});
    Account *volatile payer = &accounts[5];
    auto position = accounts.begin() + 2;
    accounts.push_back({2000, 1, "the ninth"}); // the mistake: the reference and the iterator are older than this
    life_goes_on(8 * sizeof(Account));
    payer->balance -= 50;
    unsigned long numbers = 0;
    for (int i = 0; i < 6; i++, ++position)
        numbers += position->number;
    return verdict(payer->number == 1005 && payer->balance == 450 && numbers == 6 * 1000 + 2 + 3 + 4 + 5 + 6 + 7 &&
                   spray_is_intact(8 * sizeof(Account)));
}
