"""The tree the source witness reads: one small node for each thing that can be written.

It is made from Python's own parse, which takes a ninth of the time that libcst takes for a tree with all its commas
and spaces. Kinds and fields have the names that libcst gives them. A node holds no layout: its file says where it
stands, and the text between two places is the file's own.
"""

from freezelint.source.cst.base import *
from freezelint.source.cst.expressions import *
from freezelint.source.cst.statements import *
