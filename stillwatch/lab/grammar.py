"""A prompt grammar of our own, for machines without the real prompts.

Every sentence has a slot at least every two dozen bytes and every class of slots has thousands of fillings, so
that unrelated accounts do not share a run of 63 bytes by accident. It claims nothing about what people ask.
"""

from __future__ import annotations

from stillwatch.lab.texts import Range, Texts

_ADJECTIVES = """amber ancient bitter brittle broad calm careful cheap clever coastal cobalt compact copper crisp curved
damp dense distant double dusty early eastern elastic empty even faded fertile flat foreign fragile
frozen gentle glassy global golden grainy heavy hidden hollow humble idle inland iron joint keen large
latent linear liquid local loose lunar marine mellow minor mixed modest muddy narrow native neutral noisy
northern oblique odd open outer oval pale paper plain polar porous private proud quiet rapid rare
regional remote rigid rotten rough round royal rural rusty salty scarce secret shallow sharp silent
silver simple slender sloped smooth solar solid southern sparse spiral stable steep sterile sticky stony
stormy strict subtle sudden tame tender thin timber tropical uneven upper urban vacant velvet vivid warm
western whole wicker wild wintry wooden woven young zonal"""

_NOUNS = """abbey account acid acre agenda airport alarm album alloy almond anchor antenna apron archive arrow atlas
attic auction axle bakery balcony ballad bamboo banner barley barrel basin battery beacon bearing bedrock
bench bicycle blanket boiler border bottle boulder bracket branch brick bridge budget bundle burrow
button cabin cable cactus calendar camera canal candle canvas carbon cargo carpet castle cathedral cattle
cavern cellar ceramic chalk chamber channel charter chimney choir cinema circuit citrus clinic clock
cluster coffee collar comet compass concert concrete contract copper coral cottage cotton council courier
crane crater creek crystal curtain cushion dairy database decree delta desert diary diesel drawer drought
dynamo earring easel eclipse editor elbow embassy engine enzyme estuary fabric factory falcon fender
ferry festival fiber fiddle filter flange fleet flute forest formula fossil fountain freight galaxy
gallery garage garden garment gasket gateway glacier granite gravel greenhouse guitar gutter hammer
harbour harvest hazel helmet herring hinge hospital hostel hydrant icicle index inlet insect invoice
island ivory jacket jersey journal jungle kernel kettle kitchen ladder lagoon lantern lattice laundry
ledger lemon lentil library lichen lighthouse limestone linen lobby locker lumber magnet mailbox mandolin
mantle maple marble market mattress meadow medal melon membrane mineral mirror monument mortar mosaic
motor museum mushroom napkin needle nickel notebook nursery oasis orchard orchid outlet oyster paddle
palace pamphlet parcel pasture pavement pebble pedal pencil pepper permit piano pigment pillow pipeline
planet plaster plateau pocket polymer pottery prairie prism pulley pump puzzle quarry quilt radar radish
railway ratchet receipt recipe reef relay reservoir resin ribbon rocket rudder saddle saffron sandal
satchel sauce scaffold schedule school sculpture seaweed sensor shelter shutter signal silo sketch sleeve
socket sonnet spindle sponge square stadium statue steeple stencil stirrup studio summit sundial switch
tablet tannery tapestry tariff tavern telescope temple tenant terrace theatre thermostat thicket thread
tile tinder tissue toaster tobacco tower tractor trail treaty trellis trolley trumpet tundra tunnel
turbine tureen valley valve vault vehicle veneer verdict vessel viaduct village vineyard violin voucher
wagon walnut warehouse warrant waterfall wheel whistle willow window workshop yogurt zipper"""

_VERBS = """adjust align anchor arrange assemble balance bleach borrow bundle calibrate carve catalogue chart clean
coat collect compare compress convert cool copy crop decorate deliver describe design dilute display
drain draw estimate examine export extend fasten file filter fold forecast freeze frame glaze grind
harvest heat hire import inspect insulate insure label launch lease level lift load locate lower maintain
map measure melt mend mount move organise paint patch pickle plant polish pour predict preserve price
print protect publish pump quote record recycle refill rent repair replace restore review rinse rotate
sand scan schedule seal secure select sharpen ship simulate sketch smooth sort stain stitch store
strengthen study supply survey teach test tighten trace trade train transfer translate transport trim
tune unload upgrade value varnish ventilate wash weave weigh weld wrap"""

_FIELDS = """accounting acoustics agronomy anatomy archaeology architecture astronomy baking banking beekeeping botany
brewing carpentry cartography ceramics chemistry climatology cooking cryptography dentistry design
ecology economics embroidery engineering epidemiology ethics fisheries forestry genetics geology
gardening geometry glassmaking grammar heraldry history hydrology immunology insurance journalism
knitting law linguistics logic logistics mathematics mechanics medicine metallurgy meteorology mining
music navigation neurology nursing nutrition optics painting pharmacy philosophy phonetics photography
physics physiology poetry politics printing psychology robotics sailing sculpture seismology sociology
statistics surveying taxation theology topology toxicology translation typography virology weaving
zoology"""

_ONSETS = """b br c ch d dr f fl g gr h j k kl l m n p pr r s sh st t th tr v w y z"""
_VOWELS = """a ae ai e ei i ia o oa ou u"""
_CODAS = ["", "k", "l", "m", "n", "nd", "r", "rs", "s", "st", "t", "x"]

_CHAT = """How do I {act} when the {thing} is {adj}?
Can {thing} be used to {act} in {place}?
My friend {person} says the {thing} near {place} is {adj}, is {thing} better?
How differ {thing} and {thing} in {topic}?
I live in {place} and want to {act}, where should {person} start with {thing}?
Write a poem about {thing} and {thing} for {person}.
Who first wrote about {topic} and {thing} in {place}?
Plan a trip from {place} to {place} with {person}, we like {topic}.
Is it safe to {act} with {thing} if {person} is {adj}?
I feel {adj} about {topic} since {person} left {place}, what now?
Explain {topic} to {person}, who only knows {thing} and {topic}.
Why does {thing} cost more in {place} than {thing}?
Draft a letter to {person} in {place} about the {thing} and {act} politely.
Give me ideas for {thing} made from {thing} and {thing}.
I have {thing}, {thing} and {thing}, what could {person} cook?
A story, please: {person} finds {thing} below {place} and {act}s it.
What did {person} of {place} think about {topic}?
Translate "{person} must {act} by {place}" for my {thing}.
Should {person} {act} or {act} before the {thing}?
Recommend books on {topic}, {topic} and {thing}.
My {thing} makes {adj} noise after I {act}, could {thing} fail?
What are good names for {thing} sold in {place} by {person}?
Compare life in {place} with {place} for {person}, a student of {topic}.
Fix my text: "{person} have {act} and {thing} was {adj} in {place}".
How long until {thing} becomes {adj} if {person} {act}s?
I argued with {person} about {topic} and {thing}, who is right?
Which {thing} suits {place} in winter, {thing} or {thing}?
Make a table of {thing}, {thing} and {thing} by {topic}.
Quiz me on {topic} with {thing} from {place}.
Rewrite for {person}: we {act} and then {act} near {place}.""".splitlines()

_FOLLOW = """And what about {thing}?
Shorter, and mention {person}.
Why {adj}?
No, I meant {thing} in {place}.
Could {person} {act} instead?
Add {thing} and {topic}.
Thanks! And for {place}?
More {adj}, less {adj}, keep {thing}.
What if {person} cannot {act}?
Give an example with {thing} and {thing}.
Is {topic} part of it?
Say it as {person} would in {place}.
That {thing} is wrong, check {topic} again.
Then compare it with {thing}.""".splitlines()

_TASKS = """List three uses of {thing} in {topic}.
Classify {thing}, {thing} and {thing} by {topic}.
Write a description of {thing} for {place}.
Name the main parts of {thing} in {topic}.
Summarise how to {act} with {thing} in {place}.
Ask a question about {topic} and {thing}.
Put in passive voice: {person} will {act} in {place}.
Give an essay on {topic} and {thing} a title.
Describe a day in {place} from the view of {person}.
Given {thing} and {thing}, find what {topic} says of both.
Write a talk between {person} and {person} on {topic}.
Explain why {thing} is {adj} in {place}.
Find the error: {person} {act} at {place} since {thing}.
Compute how many {thing} fit {thing} if {person} must {act}.
A function that sorts {thing} by {topic} and {adj} {thing}.
Edit so that it is {adj}: {person} saw {thing} and {thing}.
Rank {thing}, {thing} and {thing} from {adj} to {adj}.
Write a slogan for {thing} from {place}.
Prove or refute: each {thing} that is {adj} can {act}.
Design an experiment on {thing} and {topic} in {place}.
Solve: {person} buys {thing} in {place} and must {act}, what remains?
Outline a lesson on {topic} for {person} with {thing}.""".splitlines()

_SYSTEM = """You are {person}, assistant of {thing} in {place}.
Help users {act} and {act} with {thing}.
Never speak of {thing} or {topic} unless {person} agrees.
Answer as {adj} {topic} expert, in {adj} tone.
Use the {thing} list of {place} when they {act}.
If {thing} is {adj}, refer to {person} in {place}.
Our product {thing} lets people {act} and {act}.
Output the {thing} field first, then {thing} and {topic}.
Customers of {place} may {act} but not {act}.
Mind the {adj} rule on {thing}: always {act}.
Think in steps about {thing} before you {act}.
Keep {topic} answers {adj} and end with {thing}.
Today {person} handles {thing}, {person} handles {topic}.
Prefer {thing} from {place} over {thing}.
Do not {act} without {thing} of {person}.
Quote the {thing} policy on {topic} when {adj}.""".splitlines()

_DOCUMENT = """The {thing} of {place} was {adj} when {person} came to {act}.
In {topic}, {thing} and {thing} follow {adj} rules of {person}.
Section {thing}: {person} shall {act} and {act} before {place} opens.
Records of {place} mention {thing}, {thing} and {person}.
Most {thing} need {thing}, although {place} {act}s with {thing}.
The report by {person} on {topic} found {thing} {adj}.
Later {person} sold {thing} to {person} near {place}.
Users {act} the {thing}, then {act} the {adj} {thing}.
A study of {topic} in {place} compared {thing} with {thing}.
Because {thing} is {adj}, {person} must {act} in {place}.
Order {thing} and {thing} from {place}, ask for {person}.
Since {person} left, {thing} stays {adj} and {thing} {adj}.
Between {place} and {place} runs {thing} for {topic}.
Complaint of {person}: the {thing} did {act} but {thing} broke.""".splitlines()

_CODE = """def {noun}_{verb}({noun}, {noun}): return {noun}.{verb}({noun})
assert {noun}.{verb} == {noun}_{noun}, "{noun} {adj}"
- {noun}.{verb}({noun}) + {noun}.{verb}({noun}_{noun})
TypeError: {noun}.{verb} got {noun}, want {noun}_{noun}
SELECT {noun}, {noun} FROM {noun}_{noun} WHERE {noun} > {noun}
import {noun}_{noun} as {noun}
FAILED {noun}/{verb}_{noun}.py::{verb}_{adj}_{noun}
class {noun}_{adj}({noun}): {verb} = {noun}.{adj}
{noun}: {verb} {noun}, {noun} {adj} ({place})""".splitlines()

_BATCH = """Label the {thing} record by {topic}: answer {adj} or {adj}.
Extract {thing}, {thing} and {place} from the text of {person}.
Rate how {adj} the {thing} is for {topic}.
Return the {thing} code and {thing} of each {adj} entry.
Translate the {thing} note for {place} and keep {thing}.
Say whether {person} wants to {act} or {act} the {thing}.
Shorten the {thing} notice of {place} for {topic}.""".splitlines()

_BOILERPLATE = """Please rewrite the following text so that it sounds more professional and {adj}, and fix the grammar:
Summarize the text below in five bullet points, using simple language that a {adj} reader can follow.
Act as an experienced teacher of {topic} and answer my questions patiently, one small step at a time.
Translate the following paragraph into natural English and keep the {adj} tone of the original author.
You are a helpful expert in {topic}. Think carefully and answer in a short, friendly and clear way.
I will give you a text about {topic}. Read it carefully and then answer the question that comes after it.
Improve the following resume entry for a job in {topic} and make it sound confident but not {adj}.
Generate ten social media captions about {topic}, each under twenty words, with a {adj} call to action.""".splitlines()

# What one campaign was reported to send in every request: an order to imagine and articulate the internal
# reasoning behind a completed response, step by step (provider disclosure of February 2026, as reported). Only
# those words are reported; the rest is ours, and slots keep two users of such words from sharing a text.
_WRAPPER = """For {person} of {place}: imagine {thing}, articulate {adj} internal reasoning of {thing} behind \
the response, {topic} step by step, in <{noun}_{noun}> tags, keep {thing}, then {act} and answer {adj}.
Task of {thing} below. Response to {person} is {adj}; articulate its {adj} internal reasoning, {thing} first, \
{topic} next, step by step, {adj} to {adj}, mark it {noun} {noun}, say what {person} would {act}, and give all {thing}.
Write out, {adj} and {adj}, internal reasoning on {thing}: {topic}, step by step, for a {adj} completed response \
to {person}, each {thing}, each {thing}, until {act}; close with {noun} {noun} of {place}.""".splitlines()

# Captured answers of other systems, to be cleaned or graded. The phrases of the second kind stand in public prompts
# for judges (MT-Bench, arXiv 2306.05685; Prometheus 2, arXiv 2405.01535), which honest evaluators use too.
_CLEANING = """Trace of {thing} by {person} follows: remove {adj} and {adj} parts, keep {thing} of {topic}, \
mend {noun} and {noun}, drop names of {place}, and return {adj} text for {thing} with {topic} of {person}.
Clean {thing} below for {person}: delete {adj} {thing}, keep each {adj} step of {topic}, unify {noun} and \
{noun} as {person} of {place} would, then output {thing} only, with no {thing} and no {noun}.""".splitlines()

_GRADING = """For {thing} of {place}, act as an impartial judge of {topic}: rate quality of the response \
of an AI assistant to {person}, {adj} to {adj}, by {thing}, {thing} and {topic}, end with {noun} {noun}.
Grade {thing} by {person}, strictly based on the given score rubric, on {topic}, {thing}, \
{adj} to {adj}; say what {thing} lacks, in {adj} words, then {noun} and {noun} of {place}.""".splitlines()

RANGES = {
    "chat": _CHAT,
    "follow": _FOLLOW,
    "task": _TASKS,
    "system": _SYSTEM,
    "document": _DOCUMENT,
    "code": _CODE,
    "batch": _BATCH,
    "boilerplate": _BOILERPLATE,
    "wrapper": _WRAPPER,
    "cleaning": _CLEANING,
    "grading": _GRADING,
}


def fill(texts: Texts) -> dict[str, Range]:
    """Put the grammar into `texts`; gives the range of templates of each kind in `RANGES`."""
    adjectives, nouns, verbs, fields = (w.split() for w in (_ADJECTIVES, _NOUNS, _VERBS, _FIELDS))
    names = [o + v + c for o in _ONSETS.split() for v in _VOWELS.split() for c in _CODAS]
    step = 7919  # a prime: neighbours in the list do not sound alike
    surname = [names[i * step % len(names)] + e for i in range(600) for e in ("an", "ova", "ez", "er", "ino")]
    first = [names[(i * step + 13) % len(names)] for i in range(3000)]
    texts.words("person", [f"{a.capitalize()} {b.capitalize()}" for a, b in _pairs(first, surname, 30_000)])
    texts.words(
        "place",
        [a.capitalize() + b for a, b in _pairs(names, ["burg", "mouth", "field", "ow", "stead"], 15_000)],
    )
    texts.words("thing", [f"{a} {b}" for a, b in _pairs(adjectives, nouns, 40_000)])
    texts.words("topic", [f"{b} {a}" for a, b in _pairs(fields, nouns, 25_000)])
    texts.words("act", [f"{a} the {b}" for a, b in _pairs(verbs, nouns, 35_000)])
    texts.words("adj", adjectives)
    texts.words("noun", nouns)
    texts.words("verb", verbs)
    return {kind: texts.add(templates) for kind, templates in RANGES.items()}


def _pairs(left: list[str], right: list[str], most: int) -> list[tuple[str, str]]:
    """Up to `most` distinct pairs, spread over both lists."""
    total = len(left) * len(right)
    step = 1_000_003  # a prime that divides no product of our lists
    return [
        (left[i % len(left)], right[i // len(left)])
        for i in (n * step % total for n in range(min(most, total)))
    ]
