"""python -m runners.schemas: write the schemas' files again"""

from runners.schemas import write

for path in write():
    print(path)
