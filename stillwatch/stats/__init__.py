"""The only place where p- and e-values are made.

Everything is a natural logarithm, so a p-value of 1e-400 is a number and not zero. Every function that gives a
p-value gives ``log p <= 0`` and never a floor or a sentinel; a NaN is an `InputError` and too little data is
`InsufficientData`, never a number.

exact           binomial, Poisson and hypergeometric tails, exact far out
sums            exact tails of sums of weighted coins and of ranks
drawn_sums      exact tail of a sum of draws from one known list
gamma_sums      exact tail of a weighted sum of two Gamma variables
permutation     one callable for the data and for its null; sign flips; circular shifts
sequential      e-processes that may be looked at any day
coincidence     bets on where in a window the next member's events lie
combine         p to e, averages, products, minima, soft ranks
multiplicity    Holm, Benjamini-Hochberg, e-BH
intervals       Clopper-Pearson; the bootstrap over whole units
"""
